"""Contents of a project by their SHA-256, many to a file: 20,000 small files cost a few of ours.

``<id>.pack`` is contents one after the other; ``<id>.index`` has a line ``<sha256> <offset> <size>`` for each
and is written last: a pack without one is what a kill left. A pack ends once it is large, so that old
contents are dropped in portions. Nothing is synced: who reads checks the hash, and what a power cut took is
asked for again.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from workers.content import full_disk

PACK_BYTES = 64 << 20
"""A pack that has so much ends; the last content may be of any size."""
_BUFFER = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Slot:
    """Where a content lies."""

    pack: str
    offset: int
    size: int


class Packs:
    """A directory of them. Safe to share between threads and processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def slots(self) -> dict[str, Slot]:
        """Everything that is here."""
        found: dict[str, Slot] = {}
        for index in self._indexes():
            with suppress(FileNotFoundError):
                found.update(_read(index))
        return found

    def touch(self, packs: Iterable[str]) -> set[str]:
        """They are spared by the next sweeps; those that are still there."""
        left = set()
        for pack in packs:
            with suppress(FileNotFoundError):
                os.utime(self.path(pack))
                left.add(pack)
        return left

    def forget(self, content: str, pack: str) -> None:
        """The content is damaged there. Repeatable."""
        index = self.directory / f"{pack}.index"
        with suppress(FileNotFoundError):
            _write(index, [entry for entry in _read(index) if entry[0] != content])

    def drop(self, pack: str) -> None:
        """Repeatable."""
        (self.directory / f"{pack}.index").unlink(missing_ok=True)
        self.path(pack).unlink(missing_ok=True)

    def sweep(self, *, unused: float, spared: float, most: int, now: float | None = None) -> None:
        """Drop packs ``unused`` for so many seconds, and beyond ``most`` bytes those unused for longest, but
        none used within ``spared`` seconds; and what kills left."""
        now = time.time() if now is None else now
        known = {index.stem for index in self._indexes()}
        found: list[tuple[float, int, str]] = []
        for path in list(self.directory.iterdir()) if self.directory.exists() else []:
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.suffix == ".pack" and path.stem in known:
                    found.append((status.st_mtime, status.st_size, path.stem))
                elif path.suffix != ".index" and status.st_mtime < now - spared:
                    path.unlink()
        total = sum(size for _, size, _ in found)
        for used, size, pack in sorted(found):
            if used > now - spared:
                break
            if used < now - unused or total > most:
                self.drop(pack)
                total -= size

    def path(self, pack: str) -> Path:
        return self.directory / f"{pack}.pack"

    def _indexes(self) -> list[Path]:
        return sorted(self.directory.glob("*.index"))


class PackReader:
    """Contents of packs, read in any order; quickest in the order they came in."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self._open: dict[str, int] = {}
        self._stack = ExitStack()

    def read(self, slot: Slot) -> Iterator[bytes]:
        """As many bytes as are there of it, in pieces. Raise ``FileNotFoundError``."""
        if slot.pack not in self._open:
            descriptor = os.open(self._packs.path(slot.pack), os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, descriptor)
            self._open[slot.pack] = descriptor
        position, end = slot.offset, slot.offset + slot.size
        while position < end:
            piece = os.pread(self._open[slot.pack], min(_CHUNK, end - position), position)
            if not piece:
                return
            position += len(piece)
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class PackWriter:
    """Contents on their way in: ``write`` its bytes, then ``keep`` or ``discard`` them. ``close`` at the end,
    however that is: what was kept is there from then on. Raise ``NoSpace``."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self._file: BinaryIO | None = None
        self._partial = Path()
        self._buffer = bytearray()
        self._begin = self._end = 0
        self._index: list[tuple[str, Slot]] = []
        self._pack = ""

    def write(self, data: memoryview | bytes) -> None:
        self._end += len(data)
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def keep(self, content: str) -> None:
        """All since the last ``keep`` is this content."""
        if self._file is None:
            self._start()
        self._index.append((content, Slot(self._pack, self._begin, self._end - self._begin)))
        self._begin = self._end
        if self._end >= PACK_BYTES:
            self._install()

    def discard(self) -> None:
        """All since the last ``keep`` is not wanted. Nothing is written any more."""
        self._flush()
        if self._file is not None:
            self._file.truncate(self._begin)
        self._end = self._begin

    def close(self) -> None:
        """Repeatable."""
        if self._file is None:
            return
        try:
            if self._index:
                self._install()
        finally:
            self._abort()

    def _start(self) -> None:
        self._pack = secrets.token_hex(16)
        self._partial = self._packs.directory / f".{self._pack}"
        with full_disk(self._packs.directory):
            self._packs.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._partial.open("xb", buffering=0)

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._file is None:
            self._start()
        assert self._file is not None  # noqa: S101 - it was started
        with full_disk(self._packs.directory), memoryview(self._buffer) as view:
            written = 0
            while written < len(view):
                written += self._file.write(view[written:])
        self._buffer.clear()

    def _install(self) -> None:
        """Under its name the pack is whole; with its index it counts."""
        self._flush()
        assert self._file is not None  # noqa: S101 - something was kept
        with full_disk(self._packs.directory):
            self._file.truncate(self._begin)
            self._partial.rename(self._packs.path(self._pack))
            _write(self._packs.directory / f"{self._pack}.index", self._index)
        self._abort()

    def _abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial.unlink(missing_ok=True)
        self._buffer.clear()
        self._begin = self._end = 0
        self._index = []


def _read(index: Path) -> Iterator[tuple[str, Slot]]:
    pack = index.stem
    for line in index.read_text("ascii", "replace").splitlines():
        content, _, rest = line.partition(" ")
        offset, _, size = rest.partition(" ")
        if len(content) == 64 and offset.isdecimal() and size.isdecimal():  # a power cut may have torn it
            yield content, Slot(pack, int(offset), int(size))


def _write(index: Path, entries: Iterable[tuple[str, Slot]]) -> None:
    partial = index.with_name(f".{secrets.token_hex(8)}")
    partial.write_text("".join(f"{content} {slot.offset} {slot.size}\n" for content, slot in entries))
    partial.rename(index)
