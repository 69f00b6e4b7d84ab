"""User namespaces: one per uid range, shared by all containers of the project that owns the range."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from workers.engine.kernel import Kernel
from workers.engine.places import Places


def ensure_userns(kernel: Kernel, places: Places, uid_base: int, count: int) -> Path:
    """The bound namespace in which ids 0…count-1 are uid_base…; made once, kept until a reboot.

    Safe to call from several threads and processes at once.
    """
    path = places.namespace(uid_base)
    if kernel.is_mounted(path):
        return path
    directory = os.open(places.namespaces, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if not kernel.is_mounted(path):
            kernel.user_namespace(path, uid_base, count)
    finally:
        os.close(directory)  # drops the lock
    return path


def drop_userns(kernel: Kernel, places: Places, uid_base: int) -> None:
    """Forget the range's namespace; containers that are in it keep it. Repeatable."""
    path = places.namespace(uid_base)
    kernel.unmount(path)
    path.unlink(missing_ok=True)
