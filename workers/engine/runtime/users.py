"""Whom a container's process runs as: ``USER`` resolved by the image's own passwd and group files.

Those files are the tenant's: read through the rootfs so that no link leads out of it, bounded in
size, and never waited for (a FIFO there must not hang a start).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.errors import InvalidSpec

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_FILE_LIMIT = 1 << 20
_ID_DIGITS = 10

Read = Callable[[str], str]
"""The text of a file inside the rootfs by its absolute path; empty when there is none."""


@dataclass(frozen=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(user: str, read: Read, *, count: int = 65536) -> User:
    """``user`` is ``""``, ``name``, ``uid``, or either with ``:group`` or ``:gid``.

    Raise ``InvalidSpec`` for a name the image does not know or an id outside of 0…count-1.
    """
    name, colon, group = user.partition(":")
    if colon and not group:
        raise InvalidSpec(f"User {user!r} names no group after the colon", user=user)
    name = name or "0"
    entry = _find_user(name, read("/etc/passwd"))
    if entry is None and not _is_id(name):
        raise InvalidSpec(f"The image's /etc/passwd has no user {name!r}", user=user)
    uid, gid, home, login = entry or (int(name), 0, "/", "")
    groups: tuple[int, ...] = ()
    if group:
        gid = _group_id(group, read("/etc/group"))
    elif login:
        groups = tuple(_groups_of(login, read("/etc/group")))
    for number in (uid, gid, *groups):
        if not 0 <= number < count:
            raise InvalidSpec(
                f"User {user!r} has id {number}; a container has ids 0 to {count - 1}", user=user
            )
    return User(uid, gid, groups, home)


def _find_user(name: str, passwd: str) -> tuple[int, int, str, str] | None:
    """By name, else by number: uid, gid, home, login name."""
    entries = [fields for fields in _entries(passwd, 6) if _is_id(fields[2]) and _is_id(fields[3])]
    for column in (0, 2):
        for fields in entries:
            if fields[column] == name:
                return int(fields[2]), int(fields[3]), fields[5] or "/", fields[0]
    return None


def _group_id(group: str, text: str) -> int:
    for fields in _entries(text, 3):
        if fields[0] == group and _is_id(fields[2]):
            return int(fields[2])
    if _is_id(group):
        return int(group)
    raise InvalidSpec(f"The image's /etc/group has no group {group!r}", group=group)


def _groups_of(login: str, text: str) -> Iterator[int]:
    for fields in _entries(text, 4):
        if _is_id(fields[2]) and login in fields[3].split(","):
            yield int(fields[2])


def _is_id(text: str) -> bool:
    """At most ten digits, as Python takes for digits more than ``int`` reads, and reads not all it takes."""
    return text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields and not line.startswith("#"):
            yield parts


def reader(rootfs: Path) -> Read:
    """Read from a mounted rootfs without ever leaving it."""

    def read(path: str) -> str:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = _open_inside(root, path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO):
                return ""
            raise
        finally:
            os.close(root)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.pread(fd, _FILE_LIMIT, 0).decode(errors="replace")
        finally:
            os.close(fd)

    return read


_libc = ctypes.CDLL(None, use_errno=True)


def _open_inside(root: int, path: str) -> int:
    """openat2 with ``root`` as the root of every link and ``..`` on the way."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    how = struct.pack("QQQ", flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    number = ctypes.c_long(_OPENAT2)
    fd = int(_libc.syscall(number, ctypes.c_int(root), os.fsencode(path), how, ctypes.c_size_t(len(how))))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return fd
