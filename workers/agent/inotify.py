"""inotify, as far as the agent needs it."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from workers.errors import NodeError

MODIFY = 0x0002
CLOSE_WRITE = 0x0008
MOVED_TO = 0x0080
CREATE = 0x0100
DELETE_SELF = 0x0400
OVERFLOW = 0x4000
"""Changes were lost: look at everything again."""
IGNORED = 0x8000
ONESHOT = 0x80000000

_HEAD = struct.Struct("iIII")
_BUFFER = 64 << 10
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Change:
    watch: int
    mask: int
    name: str
    """Of the entry in the watched directory; empty for the directory itself."""


class Inotify:
    """A set of watches behind one non-blocking descriptor."""

    def __init__(self) -> None:
        """Raise ``NodeError`` when the node has no more of them to give."""
        try:
            self._fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        except OSError as error:
            raise NodeError(
                f"inotify: {error.strerror}; raise fs.inotify.max_user_instances (sysctl) or the"
                " number of open files allowed"
            ) from error

    def fileno(self) -> int:
        return self._fd

    def add(self, path: Path, mask: int) -> int:
        """Watch ``path``; the same path keeps its watch and gets the new mask. Raise ``OSError``."""
        return _checked(
            _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)), os.fspath(path)
        )

    def remove(self, watch: int) -> None:
        """Without effect when the watch is gone already."""
        _libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Change]:
        """What happened since the last time; empty when nothing did."""
        try:
            data = os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return []
        changes, offset = [], 0
        while offset < len(data):
            watch, mask, _cookie, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            name = data[offset : offset + length].rstrip(b"\0")
            changes.append(Change(watch, mask, os.fsdecode(name)))
            offset += length
        return changes

    def close(self) -> None:
        os.close(self._fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return int(result)
