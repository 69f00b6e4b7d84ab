"""What must be true of the machine before anything is started; every problem says how to fix it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from stack.settings import Stack

MINIMUM_KERNEL = (5, 19)
MINIMUM_FREE_BYTES = 1 << 30
NO_ROOT = (
    "Slipway needs root to mount file systems, make namespaces and write firewall rules. "
    "Run it with sudo; web, observer and Redis then run as the user slipway all the same."
)
PROGRAMS = {
    "conmon": "conmon",
    "redis-server": "redis-server",
    "nft": "nftables",
    "mmdebstrap": "mmdebstrap",
}


def problems(stack: Stack) -> list[str]:
    """Sentences for people; empty when Slipway can start. Changes nothing."""
    if os.geteuid() != 0:
        return [NO_ROOT]
    return [*_kernel(), *_programs(), *_space(stack), *_port(stack)]


def _kernel() -> Iterator[str]:
    release = platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None or (int(match[1]), int(match[2])) < MINIMUM_KERNEL:
        wanted = ".".join(map(str, MINIMUM_KERNEL))
        yield f"Linux {release} is too old: overlays on idmapped mounts need {wanted} or newer."


def _programs() -> Iterator[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)]
    if not any(shutil.which(runtime, path=path) for runtime in ("crun", "runc")):
        missing.append("crun")
    if missing:
        yield f"Not installed: {', '.join(missing)}. `make setup` installs them from Debian's packages."


def _space(stack: Stack) -> Iterator[str]:
    place = next(path for path in (stack.data, *stack.data.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < MINIMUM_FREE_BYTES:
        yield (
            f"Only {free >> 20} MiB are free below {place}; at least {MINIMUM_FREE_BYTES >> 20} MiB are "
            "needed. Free some space, or set SLIPWAY_DATA to a directory on another disk."
        )


def _port(stack: Stack) -> Iterator[str]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", stack.port))
        except OSError as error:
            holder = port_holder(stack.port)
            by = f" by {holder}" if holder else ""
            yield (
                f"Port {stack.port} cannot be used ({(error.strerror or str(error)).lower()}{by}). "
                f"Choose another one: SLIPWAY_PORT={stack.port + 1} make up"
            )


def port_holder(port: int) -> str | None:
    """``name (pid n)`` of a process that listens on the TCP port, when /proc tells."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # it ended while we looked
    return None


def _listening(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            local, state, inode = (row.split()[index] for index in (1, 3, 9))
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                yield inode
