"""Writing into the directory that will be a layer, seen from the stack it lies upon.

Nothing is mounted: what the stack has is looked up with ``Stack`` and copied up where need be, as
overlayfs would do it. Every path was resolved within the stack, so no link leads a write elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.engine.build.contents import Check, kept_attributes, nobody
from workers.engine.build.modes import Mode
from workers.engine.build.stacks import Node, Parts, Stack, is_whiteout
from workers.errors import BuildFailed

Owner = tuple[int, int]
_COPY_BLOCK = 64 << 20


@dataclass(frozen=True)
class Dress:
    """How what is written shall look. None: as the source does."""

    owner: Owner | None = None
    mode: Mode | None = None
    may_link: bool = False
    """The source is never changed any more: a hard link to it is as good as a copy."""

    def owner_of(self, status: os.stat_result) -> Owner:
        return (status.st_uid, status.st_gid) if self.owner is None else self.owner

    def mode_of(self, status: os.stat_result) -> int:
        own = stat.S_IMODE(status.st_mode)
        return own if self.mode is None else self.mode.apply(own, directory=stat.S_ISDIR(status.st_mode))


class Upper:
    """One layer being written; for one thread."""

    def __init__(self, directory: Path, lowers: Sequence[Path], check: Check = nobody) -> None:
        self._check = check
        self.directory = os.fspath(directory)
        self.stack = Stack([directory, *lowers])
        self._fresh: set[Parts] = set()
        """Directories that are nowhere below: nothing in them needs to be looked up further down."""
        self._present: set[Parts] = {()}
        self._links: dict[tuple[int, int], str] = {}
        self._times: dict[str, int] = {}

    def path(self, parts: Parts) -> str:
        return "/".join((self.directory, *parts))

    # ------------------------------------------------------------------ directories

    def ensure_directory(self, parts: Parts, owner: Owner = (0, 0), mode: int = 0o755) -> None:
        """Real directories down to ``parts`` are in the layer; those of the stack keep their looks."""
        for depth in range(1, len(parts) + 1):
            self._ensure_one(parts[:depth], owner, mode)

    def _ensure_one(self, parts: Parts, owner: Owner, mode: int) -> bool:
        """True when it was made anew."""
        if parts in self._present:
            return False
        node = self._find(parts)
        if node is not None and not node.is_directory:
            raise BuildFailed(f"cannot copy to non-directory: /{'/'.join(parts)}")
        path = self.path(parts)
        if node is None:
            self._make_way(path)
            os.mkdir(path, 0o700)
            os.chown(path, *owner)
            os.chmod(path, mode)
            self._fresh.add(parts)
        elif node.place != path:
            os.mkdir(path, 0o700)
            _dress(path, node.place, node.status, (node.status.st_uid, node.status.st_gid), None)
        self._present.add(parts)
        return node is None

    def _find(self, parts: Parts) -> Node | None:
        if parts[:-1] in self._fresh:
            try:
                status = os.lstat(self.path(parts))
            except FileNotFoundError:
                return None
            return None if is_whiteout(status) else Node(status, (self.path(parts),))
        return self.stack.lookup(parts)

    def copy_directory(self, node: Node, parts: Parts, dress: Dress) -> None:
        """Only the directory itself, whose parents are in the layer; one that is there gets its looks."""
        self._ensure_one(parts, (0, 0), 0o755)
        path = self.path(parts)
        _dress(path, node.place, node.status, dress.owner_of(node.status), dress.mode_of(node.status))
        self._times[path] = node.status.st_mtime_ns

    # ------------------------------------------------------------------ everything else

    def copy(self, node: Node, parts: Parts, dress: Dress) -> None:
        """A file, link, FIFO at ``parts``, whose parents are in the layer, in place of any other."""
        self._replace(parts)
        path = self.path(parts)
        if node.is_file:
            self._file(node, path, dress)
        elif node.is_link:
            os.symlink(os.readlink(node.place), path)
            os.chown(path, *dress.owner_of(node.status), follow_symlinks=False)
            _set_time(path, node.status.st_mtime_ns)
        elif stat.S_ISFIFO(node.status.st_mode):
            os.mkfifo(path, 0o600)
            _dress(path, node.place, node.status, dress.owner_of(node.status), dress.mode_of(node.status))
        # Sockets are of no use in an image; devices never get into a layer of ours.

    def write(self, parts: Parts, data: bytes, mode: int, owner: Owner, mtime_ns: int | None = None) -> None:
        """A file with these bytes; its parents are in the layer."""
        self._replace(parts)
        path = self.path(parts)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
        if mtime_ns is not None:
            _set_time(path, mtime_ns)

    def _file(self, node: Node, path: str, dress: Dress) -> None:
        status = node.status
        owner, mode = dress.owner_of(status), dress.mode_of(status)
        as_is = owner == (status.st_uid, status.st_gid) and mode == stat.S_IMODE(status.st_mode)
        if dress.may_link and as_is and _linked(node.place, path):
            return
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1:
            first = self._links.setdefault(identity, path)
            if first != path and _linked(first, path):
                return
        _copy_bytes(node.place, path, self._check)
        _dress(path, node.place, status, owner, mode)

    def _replace(self, parts: Parts) -> None:
        node = self._find(parts)
        if node is not None and node.is_directory:
            raise BuildFailed(f"cannot replace to directory /{'/'.join(parts)} with file")
        self._make_way(self.path(parts))

    def _make_way(self, path: str) -> None:
        """A file, link or whiteout of this layer at ``path`` is gone."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def finish(self) -> None:
        """Filling a directory changed its time: set it back, deepest first."""
        for path in sorted(self._times, key=len, reverse=True):
            _set_time(path, self._times[path])


def _linked(source: str, target: str) -> bool:
    """False where the filesystem says no: across devices, or a file with too many links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            return False
        raise
    return True


def _copy_bytes(source: str, target: str, check: Check) -> None:
    read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        write = os.open(target, flags, 0o600)
        try:
            while os.copy_file_range(read, write, _COPY_BLOCK):
                check()
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.lseek(read, 0, os.SEEK_SET)
            os.ftruncate(write, 0)
            with open(read, "rb", closefd=False) as origin, open(write, "wb", closefd=False) as copy:
                while block := origin.read(1 << 20):
                    check()
                    copy.write(block)
        finally:
            os.close(write)
    finally:
        os.close(read)


def _dress(path: str, source: str, status: os.stat_result, owner: Owner, mode: int | None) -> None:
    """Owner first: a change of it takes setuid and capabilities away."""
    os.chown(path, *owner, follow_symlinks=False)
    os.chmod(path, stat.S_IMODE(status.st_mode) if mode is None else mode)
    for name, value in kept_attributes(source).items():
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
    _set_time(path, status.st_mtime_ns)


def _set_time(path: str, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
