"""What a container leaves on its node, looked for from outside, by its id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stack import pidfiles
from tests.stacks import RunningStack
from workers.engine.wires import veth_name

_RUNTIMES = ("crun", "runc")


def of_run(stack: RunningStack, container: str) -> list[str]:
    """Of a run that has ended: mounts, control groups, addresses, wires, runtime state, processes."""
    run = stack.run / "node"
    files = [run / "containers" / container, run / "exits" / container]
    files += [run / "runtime" / name / container for name in _RUNTIMES]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        *(line for line in mounts if container in line),
        *(str(path) for path in files if os.path.lexists(path)),
        *_groups(stack.instance, container),
        *_addresses(run / "addresses", container),
        *(name for name in os.listdir("/sys/class/net") if name == veth_name(container)),
        *(f"process {pid} {line[:80]!r}" for pid, line in _processes(container)),
    ]


def of_container(stack: RunningStack, container: str) -> list[str]:
    """Of a container that was removed: all that, and its files."""
    snapshot = stack.data / "node" / "snapshots" / container
    return of_run(stack, container) + [str(path) for path in [snapshot] if path.exists()]


def shim(stack: RunningStack, container: str) -> int | None:
    """The process id of the container's conmon while it lives."""
    try:
        pid = int((stack.run / "node" / "containers" / container / "conmon.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if pidfiles.start_time(pid) is not None else None


def runtime(container: str) -> int | None:
    """A crun or runc that is at work on the container just now."""
    for pid, line in _processes(container):
        if os.path.basename(line.split(b"\0", 1)[0]).decode() in _RUNTIMES:
            return pid
    return None


def _groups(instance: str, container: str) -> Iterator[str]:
    cgroups = Path("/sys/fs/cgroup")
    for root in (cgroups, *cgroups.iterdir()):  # a tree per controller, or one for all
        yield from map(str, (root / instance).glob(f"*/{container}"))


def _addresses(leases: Path, container: str) -> Iterator[str]:
    for lease in leases.glob("*/*"):
        try:
            if os.readlink(lease) == container:
                yield str(lease)
        except OSError:
            continue


def _processes(container: str) -> Iterator[tuple[int, bytes]]:
    wanted = container.encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if wanted in line:
                yield int(name), line
