"""Who runs: ``<run>/pids/<name>`` holds a process id and its start time, so a recycled id is no match."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path


def start_time(pid: int) -> str | None:
    """In clock ticks since boot, as the kernel counts it; None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def write(path: Path, pid: int) -> None:
    aside = path.with_name(f".{path.name}")
    aside.write_text(f"{pid} {start_time(pid)}\n")
    aside.rename(path)


def read(path: Path) -> int | None:
    """The id of the process the file speaks of, if it still runs."""
    try:
        pid, _, started = path.read_text().strip().partition(" ")
    except OSError:
        return None
    return int(pid) if pid.isdecimal() and start_time(int(pid)) == started else None


def alive(directory: Path) -> dict[str, int]:
    """Name to process id of everything recorded there that still runs."""
    found = {}
    for path in sorted(directory.glob("[!.]*")):
        if (pid := read(path)) is not None:
            found[path.name] = pid
    return found


def end(pids: Iterable[int], *, grace: float) -> None:
    """Terminate, then kill whoever is left after ``grace`` seconds; returns when all are gone."""
    watched = {}
    for pid in pids:
        try:
            watched[os.pidfd_open(pid)] = pid
        except ProcessLookupError:
            continue
    try:
        _signal_all(watched, signal.SIGTERM)
        _wait(watched, grace)
        _signal_all(watched, signal.SIGKILL)
        _wait(watched, 5.0)
    finally:
        for descriptor in watched:
            os.close(descriptor)


def _signal_all(watched: dict[int, int], number: signal.Signals) -> None:
    for descriptor in watched:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue


def _wait(watched: dict[int, int], seconds: float) -> None:
    """Until every one has ended or the time is over."""
    deadline = time.monotonic() + seconds
    left = set(watched)
    while left and (remaining := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(left, [], [], remaining)
        left -= set(ended)
