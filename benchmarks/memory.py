"""Proportional set sizes: what processes really cost, with shared pages counted once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

KIB = 1024


def pss(pid: int) -> int:
    """Bytes; 0 when the process has gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * KIB for line in rollup.splitlines() if line.startswith("Pss:"))


def total(pids: Iterable[int]) -> int:
    return sum(map(pss, pids))


def processes(program: str, argument: str) -> list[int]:
    """Ids of every process of that name with the text in its command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            line = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name == program and argument.encode() in line:
            found.append(int(process.name))
    return found
