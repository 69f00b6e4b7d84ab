"""A container's log, read to its end or followed; a dropped connection costs neither a line nor a second one.

Every entry has a position that never changes, so reading goes on behind the last entry that was had.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from slipway.cli.client import Client
from slipway.cli.errors import Misused, Problem, Unreachable

NDJSON = "application/x-ndjson"
SILENCE = 60.0
"""A follow silent for longer is opened anew: the other end may be gone without a word."""
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
PATIENCE = 60.0
"""Seconds without an answer after which a follow gives up."""
_PASSING = {502, 503, 504}


@dataclass(frozen=True)
class Entry:
    position: int
    next: int
    time: str
    stream: str
    text: str
    whole: bool
    """False if the line goes on in the next entry of its stream."""

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        row = json.loads(line)
        return cls(row["position"], row["next"], row["time"], row["stream"], row["text"], row["whole"])

    def document(self) -> dict[str, Any]:
        return self.__dict__.copy()


@dataclass
class Following:
    """Where a reading begins and how far it has come."""

    client: Client
    path: str
    follow: bool = False
    tail: int | None = None
    position: int | None = None
    """Behind the last entry given out."""
    patience: float = PATIENCE
    sleep: Callable[[float], None] = time.sleep

    def batches(self) -> Iterator[list[Entry]]:
        """Entries in order, none twice, as many at a time as came together.

        Raise ``Problem``; ``Unreachable`` when it breaks off without ``follow``, or for too long with it.
        """
        failures, silent_since = 0, time.monotonic()
        while True:
            try:
                for batch in self._once():
                    failures, silent_since = 0, time.monotonic()
                    if batch:
                        yield batch
                return
            except Silent:
                failures, silent_since = 0, time.monotonic()
            except (Unreachable, Problem) as error:
                lasting = isinstance(error, Problem) and error.status not in _PASSING
                if lasting or not self.follow or time.monotonic() - silent_since > self.patience:
                    raise
                self.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1

    def _once(self) -> Iterator[list[Entry]]:
        """One connection's batches, the first one empty: it says that the server answers."""
        tail = self.tail if self.position is None else None
        query = {"follow": self.follow, "tail": tail, "position": self.position}
        rest = b""
        with self.client.stream(self.path, query, accept=NDJSON, silence=SILENCE) as pieces:
            yield []
            for piece in _watched(pieces):
                *lines, rest = (rest + piece).split(b"\n")
                if batch := self._fresh(lines):
                    yield batch

    def _fresh(self, lines: list[bytes]) -> list[Entry]:
        entries = [Entry.parse(line) for line in lines if line.strip()]
        known = -1 if self.position is None else self.position
        batch = [entry for entry in entries if entry.position >= known]
        if batch:
            self.position = batch[-1].next
        return batch


class Silent(Exception):
    """Nothing came for long on a connection that stands, as far as can be seen from here."""


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except Unreachable as error:
        if isinstance(error.__cause__, TimeoutError):
            raise Silent from error
        raise


@dataclass
class LogPrinter:
    """Entries onto stdout and stderr as the container wrote them, or all onto stdout as JSON lines."""

    stdout: BinaryIO
    stderr: BinaryIO
    timestamps: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        self._torn: set[str] = set()
        self._last: BinaryIO | None = None

    def print(self, batch: list[Entry]) -> None:
        for entry in batch:
            is_error = entry.stream.endswith("stderr")  # a build's stream begins with its step
            target = self.stderr if is_error and not self.json else self.stdout
            if self._last is not None and self._last is not target:
                self._last.flush()  # on a terminal both streams keep their order
            self._last = target
            target.write(self._json(entry) if self.json else self._text(entry))
        if self._last is not None:
            self._last.flush()

    def _json(self, entry: Entry) -> bytes:
        return json.dumps(entry.document(), separators=(",", ":")).encode() + b"\n"

    def _text(self, entry: Entry) -> bytes:
        stamp = f"{entry.time} " if self.timestamps and entry.stream not in self._torn else ""
        (self._torn.discard if entry.whole else self._torn.add)(entry.stream)
        return f"{stamp}{entry.text}{chr(10) if entry.whole else ''}".encode(errors="replace")


def print_log(
    client: Client,
    path: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    timestamps: bool = False,
    as_json: bool = False,
) -> None:
    """Print the log at ``path``, to its end or until nobody writes it any more. Raise ``Misused``."""
    if tail is not None and tail < 0:
        raise Misused(f"--tail {tail}: 0 or more is needed.")
    printer = LogPrinter(sys.stdout.buffer, sys.stderr.buffer, timestamps=timestamps, json=as_json)
    start = 0 if tail is None else None
    for batch in Following(client, path, follow=follow, tail=tail, position=start).batches():
        printer.print(batch)
