"""Cache mounts and kept downloads of all projects, within a budget."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from workers.engine.places import Places
from workers.engine.trees import remove_tree


def sweep(places: Places, *, max_bytes: int, max_age: float, now: float | None = None) -> int:
    """Drop what was not used for ``max_age`` seconds, then what was not used for longest until the rest
    fits. What a step uses at this moment stays. How many went."""
    now = time.time() if now is None else now
    found = sorted((path.stat().st_mtime, path) for path in places.build_mounts.glob("*/*"))
    sizes = {path: _size(path) for _, path in found}
    total, gone = sum(sizes.values()), 0
    for used, path in found:
        if now - used <= max_age and total <= max_bytes:
            break
        if _drop(places, path):
            total -= sizes[path]
            gone += 1
    return gone


def forget(places: Places, project: str) -> None:
    """Drop all of a project that is no more. Repeatable."""
    for path in places.build_mounts.glob(f"{project}/*"):
        _drop(places, path)
    with suppress(OSError):  # what a step uses stays
        (places.build_mounts / project).rmdir()


def _drop(places: Places, path: Path) -> bool:
    """False when a step uses it."""
    with ExitStack() as held:
        for lock in path.glob("*.lock"):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        aside = places.build_doomed / secrets.token_hex(16)
        path.rename(aside)
    remove_tree(aside)
    return True


def _size(directory: Path) -> int:
    total, pending = 0, [os.fspath(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return total
