"""Cache mounts and kept downloads of all projects, within a budget.

Whoever uses one holds it; whoever drops one first makes sure that nobody does.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from workers.engine.places import Places
from workers.engine.trees import remove_tree


def hold(home: Path) -> int:
    """A descriptor of the directory, made if need be: until it is closed, nobody drops it."""
    while True:
        try:
            with suppress(FileExistsError):
                home.parent.mkdir(mode=0o700, parents=True)
            with suppress(FileExistsError):
                home.mkdir(mode=0o700)
            descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # dropped that very moment
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # whoever drops it is done at once
        if _is_at(descriptor, home):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def sweep(places: Places, *, max_bytes: int, max_age: float, now: float | None = None) -> int:
    """Drop what was not used for ``max_age`` seconds, then what was not used for longest until the rest
    fits. What a step uses at this moment stays. How many went."""
    now = time.time() if now is None else now
    found = sorted(_used(places.build_mounts.glob("*/*")))
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
    """False when a build uses it, or it is gone."""
    aside = places.build_doomed / secrets.token_hex(16)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, path):
            return False
        path.rename(aside)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    remove_tree(aside)
    return True


def _used(paths: Iterable[Path]) -> Iterator[tuple[float, Path]]:
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime, path


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
