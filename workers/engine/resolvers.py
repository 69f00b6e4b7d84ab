"""The node's DNS resolvers, as containers can use them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second names the resolvers behind systemd-resolved, whose own one is on a loopback address."""

_KEPT_OPTIONS = ("ndots:", "timeout:", "attempts:", "rotate", "edns0", "use-vc", "single-request")


@dataclass(frozen=True)
class Resolvers:
    servers: tuple[str, ...]
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolvers:
    """What a ``resolv.conf`` says, without servers a container cannot reach: loopback and IPv6 ones."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *rest = line.split("#")[0].split() or [""]
        if word == "nameserver" and rest and _reachable(rest[0]) and rest[0] not in servers:
            servers.append(rest[0])
        elif word in ("search", "domain") and rest:
            search = tuple(name for name in rest if name != ".")
        elif word == "options":
            options = tuple(option for option in rest if option.startswith(_KEPT_OPTIONS))
    return Resolvers(tuple(servers[:3]), search, options)


def read(sources: Sequence[Path] = SOURCES) -> Resolvers:
    """The first source that names a server containers can reach; without one, what the first says."""
    found = [parse(source.read_text(errors="replace")) for source in sources if source.is_file()]
    return next((each for each in found if each.servers), found[0] if found else Resolvers(()))


def stamp(sources: Sequence[Path] = SOURCES) -> tuple[int, ...]:
    """Changes when a source does. Costs microseconds."""
    return tuple(_changed(source) for source in sources)


def render(resolvers: Resolvers) -> str:
    """The text of a container's ``/etc/resolv.conf``."""
    lines = [f"nameserver {server}" for server in resolvers.servers]
    if not lines:
        lines.append("# The node has no resolver that containers can reach: see `manage.py doctor`.")
    if resolvers.search:
        lines.append("search " + " ".join(resolvers.search))
    if resolvers.options:
        lines.append("options " + " ".join(resolvers.options))
    return "\n".join(lines) + "\n"


def _reachable(server: str) -> bool:
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback and not address.is_unspecified


def _changed(source: Path) -> int:
    try:
        return source.stat().st_mtime_ns
    except OSError:
        return 0
