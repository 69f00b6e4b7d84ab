"""A control group per process of the set, so that each can be ended whole, as a service manager would.

Only the unified hierarchy is used: it exists on pure and on hybrid machines, and nothing is limited
here. Where there is none, processes stay where they were started.
"""

from __future__ import annotations

from pathlib import Path

CANDIDATES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def parent(instance: str) -> Path | None:
    """Directory of the instance's process groups, or None on a machine without a unified hierarchy."""
    for root in CANDIDATES:
        if (root / "cgroup.controllers").exists():
            return root / f"{instance}-services"
    return None


def ensure(instance: str, name: str) -> Path | None:
    """The group of one process, made if it is missing; None where it cannot be had."""
    above = parent(instance)
    if above is None:
        return None
    group = above / name
    try:
        group.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return group


def join(group: Path, pid: int) -> None:
    """Raise ``OSError`` when the kernel refuses."""
    (group / "cgroup.procs").write_text(str(pid))


def members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def remove(instance: str) -> None:
    """Remove the empty groups; those still in use stay."""
    above = parent(instance)
    if above is None or not above.is_dir():
        return
    for group in [*(child for child in above.iterdir() if child.is_dir()), above]:
        try:
            group.rmdir()
        except OSError:
            continue
