"""A container's output: segments of CRI lines, read by position.

conmon appends ``<RFC 3339> stdout|stderr F|P <text>`` to ``active.log``. A *position* is the byte
offset of a line in all that was ever written for the container; it never changes. ``rotate``
renames ``active.log`` to its start position, so the active segment starts where the last renamed
one ends: nothing else needs to be kept.

A reader needs no lock. Between a rename and conmon's reopening there is no ``active.log``, and the
last renamed segment still grows; it is final from the moment ``active.log`` is there again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

ACTIVE = "active.log"
SEGMENT_BYTES = 16 << 20
KEPT_SEGMENTS = 8
KEPT_BYTES = KEPT_SEGMENTS * SEGMENT_BYTES
"""Of the renamed segments together. One can be far larger than ``SEGMENT_BYTES``: it has all that was written
until somebody looked."""

_DIGITS = 20
_BLOCK = 64 << 10
_RETRIES = 100


@dataclass(frozen=True)
class Entry:
    """One line. ``whole`` is False when the container's line goes on in the next entry."""

    position: int
    next: int
    time: str
    stream: str
    text: str
    whole: bool


@dataclass(frozen=True)
class Chunk:
    entries: tuple[Entry, ...]
    next: int
    """Where to read on: right after the last entry, or the first kept position."""
    more: bool
    """The limit ended this chunk: there is more to read at once."""


@dataclass(frozen=True)
class _Segment:
    start: int
    name: str


# --------------------------------------------------------------------------- reading


def read(directory: Path, position: int, *, limit_bytes: int = 256 << 10) -> Chunk:
    """Whole entries from ``position`` on, about ``limit_bytes`` of them (at least one, if any).

    A position that was dropped reads from the first one kept; one past the end, or a container
    without a log, reads nothing. To follow, read again from ``next`` whenever the file grew.
    """
    entries: list[Entry] = []
    taken = 0
    while taken < limit_bytes:
        with closing(_open_at(directory, position)) as found:
            position = max(position, found.start)
            size = _fill(entries, found, position, limit_bytes - taken)
        taken += size
        position += size
        if size == 0:
            if found.final_end is None or position >= found.final_end:
                return Chunk(tuple(entries), position, more=False)
            position = found.final_end  # a torn last line of a segment nobody writes to any more
    return Chunk(tuple(entries), position, more=True)


def first_position(directory: Path) -> int:
    """Of what is still kept."""
    segments = _segments(directory)
    return segments[0].start if segments else 0


def end_position(directory: Path) -> int:
    """Behind the last byte written until now."""
    with closing(_open_at(directory, 1 << 62)) as found:
        return found.start + found.file.seek(0, os.SEEK_END)


def tail_position(directory: Path, lines: int) -> int:
    """Where the last ``lines`` whole lines begin; the first kept position when there are fewer.

    A long line that conmon cut into several entries counts once.
    """
    end = end_position(directory)
    if lines <= 0:
        return end
    seen = 0
    for start, line in _lines_backwards(directory, end):
        if _is_whole(line):
            seen += 1
            if seen > lines:
                return start + len(line)
    return first_position(directory)


def _fill(entries: list[Entry], found: _Found, position: int, limit: int) -> int:
    """Append the whole lines at ``position``; how many bytes they had."""
    found.file.seek(position - found.start)
    data = found.file.read(limit)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == limit:  # one line longer than the limit
        data += found.file.readline()
        end = len(data) if data.endswith(b"\n") else 0
    at = position
    for line in _split(data[:end]):
        entry = _parse(line, at)
        if entry is not None:
            entries.append(entry)
        at += len(line)
    return end


def _split(data: bytes) -> list[bytes]:
    """At newlines only: a container's text may hold carriage returns."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _parse(line: bytes, position: int) -> Entry | None:
    """None for what is no CRI line: the torn end of an earlier write."""
    parts = line[:-1].split(b" ", 3)
    if len(parts) < 4 or parts[2] not in (b"F", b"P"):
        return None
    time, stream, flag, text = parts
    if stream.rpartition(b":")[2] not in (b"stdout", b"stderr"):  # a build's begins with its step
        return None
    return Entry(
        position=position,
        next=position + len(line),
        time=time.decode(errors="replace"),
        stream=stream.decode(errors="replace"),
        text=text.decode(errors="replace"),
        whole=flag == b"F",
    )


def _is_whole(line: bytes) -> bool:
    return line.split(b" ", 3)[2:3] == [b"F"]


def _lines_backwards(directory: Path, end: int) -> Iterator[tuple[int, bytes]]:
    """Lines that end before ``end``, last first, each with its position."""
    rest = b""
    while end > first_position(directory):
        with closing(_open_at(directory, end - 1)) as found:
            if found.start >= end:
                return
            begin = max(found.start, end - _BLOCK)
            found.file.seek(begin - found.start)
            data = found.file.read(end - begin) + rest
        lines = _split(data)
        # Whatever follows the last newline is torn; what precedes the first may begin further up.
        complete = begin == found.start
        offset = begin + sum(map(len, lines))
        for line in reversed(lines if complete else lines[1:]):
            offset -= len(line)
            yield offset, line
        rest = b"" if complete or not lines else lines[0]
        if not complete and not lines:
            rest = data
        end = begin


# --------------------------------------------------------------------------- segments


@dataclass(frozen=True)
class _Found:
    """An open segment; an empty one where there is no log. ``final_end`` is None while it may grow."""

    start: int
    file: BinaryIO
    final_end: int | None

    def close(self) -> None:
        self.file.close()


def _segments(directory: Path) -> list[_Segment]:
    """The renamed segments, oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".log") for name in names if name.endswith(".log"))
    starts = sorted(int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdigit())
    return [_Segment(start, _name(start)) for start in starts]


def _name(start: int) -> str:
    return f"{start:0{_DIGITS}}.log"


def _open_at(directory: Path, position: int) -> _Found:
    """The segment that holds ``position``, else the nearest one after, else the one being written."""
    for _ in range(_RETRIES):
        with suppress(_Moved, FileNotFoundError):
            return _try_open(directory, position)
    raise OSError(f"The log segments of {directory} keep moving")


class _Moved(Exception):
    """The segments changed while being looked at."""


def _try_open(directory: Path, position: int) -> _Found:
    # The order decides: once active.log is seen, every renamed segment has its final size.
    active = _open(directory / ACTIVE)
    try:
        segments = _segments(directory)
        if not segments:
            found, active = _Found(0, active or BytesIO(), None), None
            return found
        last = segments[-1]
        size = os.stat(directory / last.name)
        if active is not None and size.st_ino == os.fstat(active.fileno()).st_ino:
            raise _Moved  # it was renamed between opening and listing
        end = last.start + size.st_size
        if active is not None and position >= end:
            found, active = _Found(end, active, None), None
            return found
        chosen = [each for each in segments if each.start <= position][-1:] or segments[:1]
        file = open(directory / chosen[0].name, "rb")  # noqa: SIM115 - handed to the caller
        if chosen[0] != last:
            following = segments[segments.index(chosen[0]) + 1].start
            return _Found(chosen[0].start, file, following)
        return _Found(last.start, file, end if active is not None else None)
    finally:
        if active is not None:
            active.close()


def _open(path: Path) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


# --------------------------------------------------------------------------- rotation


def is_due(directory: Path, segment_bytes: int = SEGMENT_BYTES) -> bool:
    try:
        return (directory / ACTIVE).stat().st_size >= segment_bytes
    except FileNotFoundError:
        return False


def rotate(
    directory: Path, reopen: Callable[[], object], *, keep: int = KEPT_SEGMENTS, keep_bytes: int = KEPT_BYTES
) -> None:
    """Rename the active segment, make its writer open a new one; of the old ones the newest ``keep`` stay,
    as far as they have no more than ``keep_bytes``.

    Needs the container's lock. Does nothing while the writer has not yet followed the last time:
    the start of its next segment is not known before.
    """
    active = directory / ACTIVE
    if not active.exists():
        reopen()
        return
    segments = _segments(directory)
    start = 0
    if segments:
        start = segments[-1].start + (directory / segments[-1].name).stat().st_size
    newest = _Segment(start, _name(start))
    end = start + active.stat().st_size
    active.rename(directory / newest.name)
    reopen()
    # The newest is always kept: the active segment's start follows from it.
    kept = [each for each in segments if end - each.start <= keep_bytes][-(keep - 1) :] if keep > 1 else []
    for segment in segments[: len(segments) - len(kept)]:
        (directory / segment.name).unlink(missing_ok=True)


def drop(directory: Path) -> None:
    """Remove everything that was logged. Repeatable."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
