"""A log of our own work (a job, a build), written as conmon writes a container's: ``logs`` reads both.

Whoever does the work holds the ``LogWriter``; the file ``ended`` in the directory says that nobody does any
more, so that whoever follows may stop. A worker that died leaves no such file, and its successor goes on with
the same log: positions never change.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.engine import logs

ENDED = "ended"
SEGMENT_BYTES = 4 << 20
KEPT_SEGMENTS = 4
_PIECE = 8 << 10
"""Of a long line in one entry, as conmon cuts."""


class LogWriter:
    """Appends to the log in ``directory``, which it makes. Safe to use from any thread; one per directory.

    A log never makes work fail: a line for which there is no space is left out.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep: int = KEPT_SEGMENTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._segment_bytes, self._keep, self._clock = directory, segment_bytes, keep, clock
        self._lock = threading.Lock()
        self._open = True
        with suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / ENDED).unlink(missing_ok=True)
            self._append(b"")

    def write(self, text: str, stream: str = "stdout") -> None:
        """A line, or several. ``stream`` is stdout or stderr, or one of them after a word: ``3:stdout``."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        data = b"".join(_entries(stamp, stream, line.encode(errors="replace")) for line in lines)
        with self._lock, suppress(OSError):
            if self._open:
                self._append(data)

    def close(self) -> None:
        """Nothing more comes. Repeatable."""
        with self._lock, suppress(OSError):
            self._open = False
            (self._directory / ENDED).touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        # Opened anew each time: work says little, and nothing is left open by work that is dropped.
        with (self._directory / logs.ACTIVE).open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read(1) not in (b"", b"\n"):  # somebody died, or had no space, in the middle of a line
                data = b"\n" + data
            file.write(data)
        if size + len(data) >= self._segment_bytes:
            logs.rotate(self._directory, self._begin_segment, keep=self._keep)

    def _begin_segment(self) -> None:
        (self._directory / logs.ACTIVE).touch()


def is_open(directory: Path) -> bool:
    """Whether more may come."""
    return not (directory / ENDED).exists()


def _entries(stamp: str, stream: str, line: bytes) -> bytes:
    pieces = [line[at : at + _PIECE] for at in range(0, len(line), _PIECE)] or [b""]
    flags = ["P"] * (len(pieces) - 1) + ["F"]
    return b"".join(
        f"{stamp} {stream} {flag} ".encode() + piece + b"\n"
        for flag, piece in zip(flags, pieces, strict=True)
    )
