"""A process named so that a recycled pid is never mistaken for it: pid plus start time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_START_TIME = 19
"""Index of ``starttime`` in /proc/PID/stat, counted after the command's closing bracket."""


@dataclass(frozen=True)
class Process:
    """``start_time`` is in clock ticks since boot, as /proc says it."""

    pid: int
    start_time: int


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def give_output(process: Process, uid: int, gid: int) -> None:
    """Let its user open again, by name, the pipes it has as stdout and stderr. Not for terminals.

    The shim makes them as the node's root; /dev/stdout is opened as any other file.
    """
    for number in (1, 2):
        path = f"/proc/{process.pid}/fd/{number}"
        with contextlib.suppress(FileNotFoundError):  # it has ended already
            if stat.S_ISFIFO(os.stat(path).st_mode):
                os.chown(path, uid, gid)


def find(pid: int) -> Process | None:
    """The process that has ``pid`` now; None when there is none, or only its corpse."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(1024)
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[_START_TIME]))


def alive(process: Process) -> bool:
    return find(process.pid) == process


def open_process(process: Process) -> int | None:
    """A pidfd of exactly this process, readable once it has ended; None when it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # The descriptor pins whoever has the pid now: only after opening can it be told who that is.
    if alive(process):
        return fd
    os.close(fd)
    return None


def send(process: Process, number: int) -> bool:
    """Send a signal; False when the process is gone."""
    fd = open_process(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def wait(process: Process, timeout: float | None) -> bool:
    """Block until the process has ended; False when ``timeout`` seconds passed first."""
    deadline = None if timeout is None else time.monotonic() + timeout
    fd = open_process(process)
    if fd is None:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while True:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if poll.poll(rest):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
    finally:
        os.close(fd)
