"""Which container has which address: one symbolic link per lease, named by the address.

The link's target is the container's id. Making a link is one step that fails if the name is
taken, so a lease has no moment in which it exists without its holder, and needs no lock.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from workers.errors import NetworkFailed, NoAddress

_LAST = ".last"
"""A link to the address leased last: the search goes on from there, so that an address that was
just given back, to which others may still hold connections, comes round as late as possible."""


def gateway(subnet: str) -> str:
    """The first host of the subnet: the bridge's own address."""
    return str(_network(subnet)[1])


def take(directory: Path, subnet: str, container: str) -> str:
    """The address the container holds, else a free one. Raise ``NoAddress`` when there is none.

    Safe across threads and processes, for different containers.
    """
    held = _held(directory)
    for address, holder in held.items():
        if holder == container:
            return address
    for address in _candidates(_network(subnet), _last(directory)):
        if address not in held and _claim(directory, address, container):
            _remember(directory, address)
            return address
    raise NoAddress(
        f"Every address of {subnet} is taken ({len(held)}); remove containers of this project", subnet=subnet
    )


def give_back(directory: Path, container: str) -> None:
    """Free what the container holds; nothing happens when that is nothing."""
    for address, holder in _held(directory).items():
        if holder == container:
            (directory / address).unlink(missing_ok=True)


def holders(directory: Path) -> set[str]:
    """The containers that have an address."""
    return set(_held(directory).values())


def drop(directory: Path) -> None:
    """Forget every lease of a project."""
    shutil.rmtree(directory, ignore_errors=True)


def _network(subnet: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise NetworkFailed(f"{subnet!r} is no IPv4 network: {error}") from error
    if network.prefixlen > 30:
        raise NetworkFailed(f"{subnet} has no room for a gateway and a container; use /30 or wider")
    return network


def _held(directory: Path) -> dict[str, str]:
    held: dict[str, str] = {}
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return held
    for name in names:
        if not name.startswith("."):
            try:
                held[name] = os.readlink(f"{directory}/{name}")  # joining paths would double the time
            except FileNotFoundError:  # given back since listdir
                continue
    return held


def _candidates(network: ipaddress.IPv4Network, last: str | None) -> Iterator[str]:
    """Hosts after the gateway, beginning behind the one leased last."""
    first, count = int(network[2]), network.num_addresses - 3
    offset = int(ipaddress.IPv4Address(last)) - first + 1 if last else 0
    for step in range(count):
        yield str(ipaddress.IPv4Address(first + (offset + step) % count))


def _claim(directory: Path, address: str, container: str) -> bool:
    try:
        os.symlink(container, directory / address)
    except FileExistsError:
        return False
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _claim(directory, address, container)
    return True


def _last(directory: Path) -> str | None:
    try:
        return os.readlink(directory / _LAST)
    except FileNotFoundError:
        return None


def _remember(directory: Path, address: str) -> None:
    # Two that race here leave either address: both are good places to go on from.
    aside = directory / f".{uuid.uuid4().hex}"
    os.symlink(address, aside)
    aside.rename(directory / _LAST)
