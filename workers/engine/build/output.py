"""What a step prints: secrets taken out, cut into lines, written into the build's log."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.build.redaction import Known, Redactor

LONGEST = 64 << 10
"""Bytes of a line that are held until its end comes."""
LIMIT = 64 << 20
"""Bytes of one stream of one step that are kept."""

Write = Callable[[str, str], None]
"""Lines of text, and the stream: ``3:stdout``."""


class Lines:
    """One stream of one step."""

    def __init__(self, write: Write, stream: str, known: Known) -> None:
        self._write, self._stream = write, stream
        self._redactor = Redactor(known)
        self._rest = b""
        self._seen = 0

    def feed(self, chunk: bytes) -> None:
        self._take(self._redactor.feed(chunk))

    def finish(self) -> None:
        self._take(self._redactor.finish())
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _take(self, clean: bytes) -> None:
        data = self._rest + clean
        end = data.rfind(b"\n") + 1
        if not end and len(data) > LONGEST:
            end = len(data)
        if end:
            self._say(data[:end])
        self._rest = data[end:]

    def _say(self, data: bytes) -> None:
        before, self._seen = self._seen, self._seen + len(data)
        if before > LIMIT:
            return
        if self._seen > LIMIT:
            data = b"[output cut here: a step keeps %d MB of each stream]\n" % (LIMIT >> 20)
        self._write(data.decode(errors="replace"), self._stream)
