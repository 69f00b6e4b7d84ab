"""The processes of a start that was cut off: a shim and a runtime that go on without their starter.

They are found by what they were started with. There is no other trace yet, and their pids were never
recorded. Whoever looks must hold the container's lock: the kernel frees the lock of a dead starter only when
the program it was about to start has replaced it, so there is nothing to come that is not there already.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from workers.errors import RuntimeFailed

_PROGRAMS = frozenset((b"conmon", b"crun", b"runc"))
_DEADLINE = 10.0
_PARENT = 1
"""Index of the parent's pid in /proc/PID/stat, counted after the command's closing bracket."""


def end(container: str, kill_cgroup: Callable[[], None]) -> None:
    """SIGKILL them, what they started, and what they put into the container's cgroup, until all is gone.

    A runtime moves its child into the cgroup at any moment: both are emptied by turns.
    """
    deadline = time.monotonic() + _DEADLINE
    while True:
        found = find(container)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        kill_cgroup()
        if not found:
            return
        if time.monotonic() > deadline:
            raise RuntimeFailed(f"The start of {container} survives SIGKILL: {sorted(found)[:5]}")
        time.sleep(0.002)  # pidfds of strangers' children would tell, but not of those they have yet to make


def find(container: str) -> set[int]:
    """Shims and runtimes that name the container, and their descendants."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    found = {pid for pid in pids if _names(pid, container.encode())}
    return found | _descendants(found, pids) if found else found


def _names(pid: int, container: bytes) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.path.basename(arguments[0]) in _PROGRAMS and container in arguments


def _descendants(roots: set[int], pids: Iterable[int]) -> set[int]:
    parents = {pid: _parent(pid) for pid in pids}
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    state, parent = text[text.rindex(b")") + 2 :].split()[: _PARENT + 1]
    return 0 if state in b"ZX" else int(parent)
