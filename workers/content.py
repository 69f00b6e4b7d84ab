"""The content store: blobs under their digests. Write aside, verify, rename; never half a blob."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from workers.errors import DigestMismatch, NoSpace, NoSuchBlob
from workers.oci.digest import Digest, hasher

_CHUNK = 1 << 20


class Writer(Protocol):
    """A blob on its way in. Leaving its ``with`` block without ``commit`` leaves nothing behind."""

    @property
    def size(self) -> int: ...

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Raise ``NoSpace``, after which nothing of the blob is left."""

    def commit(self, expected: Digest | None = None) -> Digest:
        """The blob exists, durably. Raise ``DigestMismatch`` (nothing is left) or ``NoSpace``."""

    def abort(self) -> None:
        """Nothing of the blob is left. Repeatable; without effect after ``commit``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Content(Protocol):
    """Any number of threads and processes may use one store at once."""

    def begin(self, algorithm: str = "sha256") -> Writer: ...

    def ingest(self, source: BinaryIO, expected: Digest | None = None) -> Digest:
        """Read ``source`` to its end. Raises as ``Writer.commit`` does."""

    def open(self, digest: Digest) -> BinaryIO:
        """Raise ``NoSuchBlob``."""

    def size(self, digest: Digest) -> int:
        """Raise ``NoSuchBlob``."""

    def exists(self, digest: Digest) -> bool: ...

    def delete(self, digest: Digest) -> None:
        """Repeatable; whoever has the blob open keeps it."""


class DirectoryContent:
    """``<root>/blobs/<algorithm>/<hex>``, and ``<root>/ingest`` for what is being written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._partials = root / "ingest"
        for directory in (self._partials, root / "blobs" / "sha256", root / "blobs" / "sha512"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

    def begin(self, algorithm: str = "sha256") -> DirectoryWriter:
        return DirectoryWriter(self, self._partials / secrets.token_hex(16), algorithm)

    def ingest(self, source: BinaryIO, expected: Digest | None = None) -> Digest:
        with self.begin(expected.algorithm if expected else "sha256") as writer:
            while chunk := source.read(_CHUNK):
                writer.write(chunk)
            return writer.commit(expected)

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise _unknown(digest) from None

    def size(self, digest: Digest) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _unknown(digest) from None

    def exists(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def delete(self, digest: Digest) -> None:
        self.path(digest).unlink(missing_ok=True)

    def sweep_partials(self) -> int:
        """Remove what writers of ended processes left; a living writer holds a lock on its file."""
        removed = 0
        for partial in list(self._partials.iterdir()):
            try:
                descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # committed or aborted meanwhile
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink(missing_ok=True)
                removed += 1
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)
        return removed


class DirectoryWriter:
    def __init__(self, content: DirectoryContent, partial: Path, algorithm: str) -> None:
        self._content, self._partial = content, partial
        self._algorithm, self._hash = algorithm, hasher(algorithm)
        self._size = 0
        with full_disk(partial):
            self._file: BinaryIO | None = partial.open("xb", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def size(self) -> int:
        return self._size

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        if self._file is None:
            raise ValueError("The blob was committed or aborted already")
        view = memoryview(chunk)
        try:
            with full_disk(self._partial):
                written = 0
                while written < len(view):
                    written += self._file.write(view[written:])
        except BaseException:
            self.abort()
            raise
        self._hash.update(view)
        self._size += len(view)

    def commit(self, expected: Digest | None = None) -> Digest:
        if self._file is None:
            raise ValueError("The blob was committed or aborted already")
        try:
            actual = Digest(self._algorithm, self._hash.hexdigest())
            if expected is not None and actual != expected:
                raise DigestMismatch(
                    f"The blob has the digest {actual}, not {expected}: it was damaged or cut off on its way",
                    expected=str(expected),
                    actual=str(actual),
                )
            self._keep(self._file, self._content.path(actual))
        finally:
            self.abort()
        return actual

    def _keep(self, file: BinaryIO, target: Path) -> None:
        with full_disk(self._partial):
            os.fsync(file.fileno())
            self._partial.rename(target)  # over an equal blob, if there is one
            sync_directory(target.parent)

    def abort(self) -> None:
        if self._file is not None:
            self._partial.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def sync_directory(path: Path) -> None:
    """Names made, renamed or removed in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """``path`` holds ``data`` or what it held before, whatever happens. Raise ``NoSpace``."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with full_disk(aside):
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Turn the system's error for a full disk (or quota) into ``NoSpace`` about the disk of ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise no_space(path) from error


def no_space(path: Path) -> NoSpace:
    """The error for a full disk, saying what is left of it."""
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    figures = os.statvfs(place)
    free = figures.f_bavail * figures.f_frsize
    return NoSpace(
        f"No space left on the disk of {place} ({free >> 20} MB and {figures.f_favail} files are free): "
        "free some and try again",
        path=str(place),
        free_bytes=free,
    )


def _unknown(digest: Digest) -> NoSuchBlob:
    return NoSuchBlob(f"Blob {digest} is not in the content store", digest=str(digest))
