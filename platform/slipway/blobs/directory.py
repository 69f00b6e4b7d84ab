"""Blobs in a directory: ``blobs/<key>``, and ``uploads/<upload>`` for what is on its way in."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from slipway.blobs.keys import key_for, require_key
from slipway.blobs.store import Stored, UploadBusy
from workers.content import full_disk, sync_directory
from workers.errors import NoSuchBlob
from workers.oci.digest import Digest

PIECE = 4 << 20
_UPLOAD = re.compile(r"[0-9a-f]{32}")


class DirectoryStore:
    """Bytes are written aside, synced and renamed: nobody ever sees half a blob."""

    kind = "directory"
    is_near = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._uploads = root / "uploads"
        self._blobs = root / "blobs"
        for directory in (self._uploads, self._blobs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, upload: str, offset: int) -> FileAppender:
        return FileAppender(self._partial(upload), offset)

    def received(self, upload: str) -> int:
        try:
            return os.stat(self._partial(upload)).st_size
        except FileNotFoundError:
            return 0

    def pieces(self, upload: str, end: int) -> Iterator[bytes]:
        with self._partial(upload).open("rb", buffering=0) as file:
            while end > 0 and (data := file.read(min(PIECE, end))):
                end -= len(data)
                yield data

    def keep(self, upload: str, digest: Digest, size: int, key: str | None = None) -> str:
        partial, key = self._partial(upload), key_for(digest, key)
        target = self._blobs / key
        with full_disk(self.root), FileAppender(partial, size) as alone:
            alone.sync()
            self._ensure_directory(target.parent)
            partial.rename(target)
            sync_directory(target.parent)
        return key

    def _ensure_directory(self, directory: Path) -> None:
        if directory.is_dir():
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for parent in (directory.parent, self._blobs):
            sync_directory(parent)

    def discard(self, upload: str) -> None:
        self._partial(upload).unlink(missing_ok=True)

    def open(self, key: str) -> FileReader:
        try:
            return FileReader(self._blobs / require_key(key))
        except FileNotFoundError:
            raise NoSuchBlob(f"The blob {key} is not in {self.root}.", key=key) from None

    def size(self, key: str) -> int | None:
        try:
            return (self._blobs / require_key(key)).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        (self._blobs / require_key(key)).unlink(missing_ok=True)

    def blobs(self) -> Iterator[Stored]:
        for path in self._blobs.glob("sha*/??/*"):
            if found := _seen(path, str(path.relative_to(self._blobs))):
                yield found

    def uploads(self) -> Iterator[Stored]:
        for path in self._uploads.iterdir():
            if found := _seen(path, path.name):
                yield found

    def _partial(self, upload: str) -> Path:
        if not _UPLOAD.fullmatch(upload):
            raise ValueError(f"{upload[:60]!r} is no upload")
        return self._uploads / upload


def _seen(path: Path, name: str) -> Stored | None:
    try:
        return Stored(name, path.stat().st_mtime)
    except FileNotFoundError:
        return None  # gone meanwhile


class FileAppender:
    """Holds a lock on the file for as long as it is open."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        with full_disk(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._begin(offset)
        except BaseException as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise UploadBusy("Another request is writing to this upload; wait for it to end.") from error
            raise

    def _begin(self, offset: int) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (size := os.fstat(self._file).st_size) != offset:
            if size == 0:
                self._path.unlink(missing_ok=True)  # made by this very open
            raise UploadBusy("Another request has written to this upload or ended it; ask where it is.")
        os.lseek(self._file, offset, os.SEEK_SET)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        with full_disk(self._path):
            while view:
                view = view[os.write(self._file, view) :]

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileReader:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    def file_at_hand(self, offset: int, length: int) -> int | None:
        probe = bytearray(1)
        try:
            for position in (offset, offset + length - 1):
                if os.preadv(self._file, [probe], position, os.RWF_NOWAIT) != 1:
                    return None
        except OSError:
            return None  # not in the page cache, or a file system that cannot tell
        return self._file

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
