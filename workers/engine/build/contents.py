"""What a set of files is, in one digest: names, kinds, modes, owners, bytes, attributes; not times."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from workers.engine.build.stacks import Node

_BLOCK = 1 << 20
_REMEMBERED = 100_000
_ATTRIBUTES = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_Identity = tuple[int, int, int, int, int]
Check = Callable[[], None]
"""Raises when nobody wants the result any more; asked for each block, so that one huge file keeps nobody."""


def nobody() -> None:
    """Whom it never matters to."""


class Digests:
    """Digests of files' bytes, remembered by what the kernel changes whenever the bytes change.

    The inode alone would not do: a new file may get a removed one's number, size and time of change
    of its content, but not its time of change of the inode. Safe to share between threads.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._known: OrderedDict[_Identity, bytes] = OrderedDict()
        self._remembered = remembered
        self._lock = threading.Lock()

    def of_file(self, node: Node, check: Check = nobody) -> bytes:
        status = node.status
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._lock:
            found = self._known.get(identity)
            if found is not None:
                self._known.move_to_end(identity)
                return found
        found = _hash_file(node.place, check)
        with self._lock:
            self._known[identity] = found
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return found

    def of_tree(
        self,
        entries: Iterable[tuple[str, Node]],
        owner: tuple[int, int] | None = None,
        check: Check = nobody,
    ) -> str:
        """Of nodes under the names they will have; ``owner`` stands for what the files' own would be."""
        total = hashlib.sha256()
        for name, node in entries:
            status = node.status
            uid, gid = owner if owner is not None else (status.st_uid, status.st_gid)
            head = f"{name}\0{stat.S_IFMT(status.st_mode):o} {_mode(node):o} {uid} {gid} {status.st_rdev}\0"
            total.update(head.encode(errors="surrogateescape"))
            check()
            total.update(self._body(node, check))
        return total.hexdigest()

    def _body(self, node: Node, check: Check) -> bytes:
        if node.is_link:
            return os.readlink(node.place).encode(errors="surrogateescape") + b"\0"
        body = self.of_file(node, check) if node.is_file else b""
        return body + b"".join(_attributes(node.place))


def _mode(node: Node) -> int:
    return 0o777 if node.is_link else stat.S_IMODE(node.status.st_mode)


def kept_attributes(place: str) -> dict[str, bytes]:
    """Extended attributes a copy takes along."""
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:
        return {}
    wanted = [
        name
        for name in names
        if name in _ATTRIBUTES or (name.startswith("user.") and not name.startswith("user.overlay."))
    ]
    return {name: os.getxattr(place, name, follow_symlinks=False) for name in sorted(wanted)}


def _attributes(place: str) -> Iterable[bytes]:
    for name, value in kept_attributes(place).items():
        yield f"{name}={len(value)}\0".encode() + value


def _hash_file(path: str, check: Check) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        total = hashlib.sha256()
        while block := os.read(descriptor, _BLOCK):
            total.update(block)
            check()
        return total.digest()
    finally:
        os.close(descriptor)
