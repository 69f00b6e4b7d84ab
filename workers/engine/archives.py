"""What an archive somebody handed in turns out to be: files of an image, or a root filesystem."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.content import full_disk
from workers.engine.compression import HashingReader, compression_of, decompressed
from workers.engine.tar import FILE, HARD_LINK, SYMLINK, BadTar, Entry, TarStream
from workers.errors import InvalidArchive, NoSpace

_IMAGE_FILE = re.compile(r"(blobs|[0-9a-f]{64})(/.*)?|oci-layout|repositories|[^/]+\.(json|tar)")
_MAX_FILES = 100_000
_MAX_LINKS = 8


@dataclass(frozen=True)
class Part:
    offset: int
    size: int


class Section:
    """A part of a file, read as a file of its own."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._at, self._end = file, part.offset, part.offset + part.size

    def read(self, count: int = -1) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        piece = self._file.read(left if count < 0 else min(count, left))
        self._at += len(piece)
        return piece


class Files:
    """The files of an image archive, by their names."""

    def __init__(self, file: BinaryIO, parts: dict[str, Part], links: dict[str, str]) -> None:
        self._file, self._parts, self._links = file, parts, links

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def find(self, name: str) -> Part | None:
        """Follows links, which `docker save` once used for layers that occur twice."""
        for _ in range(_MAX_LINKS):
            if name in self._parts:
                return self._parts[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def get(self, name: str) -> Part:
        part = self.find(name)
        if part is None:
            raise InvalidArchive(f"The archive names {name[:200]!r}, but does not hold it", file=name[:200])
        return part

    def section(self, part: Part) -> Section:
        return Section(self._file, part)

    def read(self, name: str, limit: int = 4 << 20) -> bytes:
        part = self.get(name)
        if part.size > limit:
            raise InvalidArchive(
                f"{name[:200]!r} has {part.size} bytes; at most {limit} are read", file=name[:200]
            )
        return self.section(part).read()


@contextmanager
def opened(stream: BinaryIO, spool: Path, limit: int) -> Iterator[Files | None]:
    """The files of the image archive ``stream``, or None when it is a root filesystem.

    ``stream`` stands at its beginning and can seek. A compressed image archive is unpacked into an
    unnamed file in ``spool``, up to ``limit`` bytes. Raise ``InvalidArchive`` on what is no tar.
    """
    with ExitStack() as stack:
        if not _holds_image_files(stream):
            stream.seek(0)
            yield None
            return
        stream.seek(0)
        reader = HashingReader(stream)
        compressed = compression_of(reader)
        file = stack.enter_context(_spooled(reader, spool, limit)) if compressed else stream
        files = _index(file)
        # A root filesystem, too, may have a /blobs.
        yield files if any(name in files for name in ("index.json", "manifest.json")) else None


def _holds_image_files(stream: BinaryIO) -> bool:
    """Whether it begins as an image archive would; only then its files are worth a look at all of it."""
    pieces = decompressed(HashingReader(stream))
    with _named():
        tar = TarStream(lambda _: next(pieces, b""))
        while (entry := tar.next_entry()) is not None:
            name = _normal(entry)
            if name != ".":
                return _IMAGE_FILE.fullmatch(name) is not None
    raise InvalidArchive("The archive is empty")


@contextmanager
def _spooled(reader: HashingReader, spool: Path, limit: int) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(dir=spool) as file:
        size = 0
        for piece in decompressed(reader):
            size += len(piece)
            if size > limit:
                raise InvalidArchive(f"The archive unpacks to more than {limit} bytes", limit=limit)
            try:
                with full_disk(spool):
                    file.write(piece)
            except NoSpace:
                os.ftruncate(file.fileno(), 0)  # or closing would fail on what is still buffered
                raise
        file.seek(0)
        yield file


def _index(file: BinaryIO) -> Files:
    file.seek(0)
    tar = TarStream(lambda count: file.read(count))
    parts: dict[str, Part] = {}
    links: dict[str, str] = {}
    count = 0
    with _named():
        while (entry := tar.next_entry()) is not None:
            count += 1
            if count > _MAX_FILES:
                raise InvalidArchive(f"The archive holds more than {_MAX_FILES} files")
            name = _normal(entry)
            if entry.kind == FILE:
                parts[name] = Part(tar.offset, entry.size)
            elif entry.kind in (SYMLINK, HARD_LINK):
                base = posixpath.dirname(name) if entry.kind == SYMLINK else ""
                links[name] = posixpath.normpath(posixpath.join(base, entry.link.decode(errors="replace")))
    return Files(file, parts, links)


def _normal(entry: Entry) -> str:
    return posixpath.normpath(entry.name.decode(errors="replace")).lstrip("/") or "."


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BadTar as error:
        raise InvalidArchive(f"The archive cannot be read: {error}") from error
