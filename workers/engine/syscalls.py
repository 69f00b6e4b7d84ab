"""The system calls of mounting, raw: libc of Debian stable has no wrappers for most of them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

# These numbers are the same on every architecture; glibc 2.31 has no wrappers for them.
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

AT_FDCWD = -100
AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT = 0x1000, 0x100, 0x800
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
SET_FLAG, SET_STRING, SET_FD, CREATE = 0, 1, 5, 6
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_IDMAP = 1, 2, 4, 8, 0x100000
MS_NODEV, MS_REC, MS_PRIVATE = 4, 0x4000, 1 << 18
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNS = 0x20000
CAPABILITY_VERSION_3 = 0x20080522
STATX_ATTR_MOUNT_ROOT = 0x2000


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def call(number: int, what: str, *arguments: int | bytes | None) -> int:
    """A raw system call; bytes are passed as pointers."""
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(int(libc.syscall(ctypes.c_long(number), *converted)), what)


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def clone_tree(path: Path) -> int:
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    return call(OPEN_TREE, f"open_tree {path}", AT_FDCWD, os.fsencode(path), flags)


def set_attributes(tree: int, attributes: int, userns: int = 0, what: str = "mount_setattr") -> None:
    request = struct.pack("QQQQ", attributes, 0, 0, userns)
    call(MOUNT_SETATTR, what, tree, b"", AT_EMPTY_PATH, request, len(request))


def attach(tree: int, target: Path | str) -> None:
    name = os.fsencode(target)
    call(MOVE_MOUNT, f"move_mount {target}", tree, b"", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH)


def configure(context: int, command: int, key: str = "", value: str | None = None, fd: int = 0) -> None:
    name = key.encode() if key else None
    text = value.encode() if value is not None else None
    call(FSCONFIG, f"fsconfig {key}", context, command, name, text, fd)


def complaints(context: int) -> str:
    """What the filesystem itself says about the configuration it refused."""
    lines = []
    try:
        while line := os.read(context, 4096):
            lines.append(line.decode(errors="replace").strip())
    except OSError:
        pass  # ENODATA: all was read
    return "; ".join(lines)


def become(uid: int) -> None:
    """Give this thread the filesystem ids of ``uid``; keep the capabilities setfsuid takes away."""
    libc.setfsgid(uid)
    libc.setfsuid(uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for 64 bits
    checked(libc.capget(header, sets), "capget")
    sets[0], sets[3] = sets[1], sets[4]
    checked(libc.capset(header, sets), "capset")
