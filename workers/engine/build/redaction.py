"""Secrets taken out of a stream of bytes before anybody keeps it.

Each secret is looked for as it is, line by line, in base64 (at each of its three alignments, both
alphabets), in hexadecimal and URL-quoted; line breaks, as base64(1) puts them after 76 columns, do not
hide it. A match may lie across the borders of chunks: what may be the beginning of one is held back until
the next chunk, or the end, tells.

A long form is looked for in pieces, so that what is held and what is searched anew stay small, and so do
a secret's patterns: about 40 times its own size.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MARK = b"***"
SHORTEST = 4
"""Bytes. To take anything shorter out would take out half of any text."""
PIECE = 251
"""Bytes; what is longer than two of them is cut. No multiple of a line's length, so that the marks of
pieces run together."""
LINES = 1000
"""Lines of one secret that are looked for in every form; those after them only as they are."""
_UNSEEN = 8
"""A line is held back for fewer bytes of a secret at its end only as long as no line break follows."""
_HELD = 64 << 10
_BREAKS = b"\r\n"


def patterns(secrets: Iterable[str]) -> Known:
    """Every form a secret may appear in."""
    found: set[bytes] = set()
    for secret in secrets:
        whole = secret.encode(errors="surrogateescape")
        whole = whole.strip() if len(whole.strip()) >= SHORTEST else whole
        if len(whole) >= SHORTEST:
            found.update(_pieces(_forms(whole)))
        lines = list(dict.fromkeys(line for line in whole.splitlines() if len(line) >= 2 * SHORTEST))
        for number, line in enumerate(lines):
            found.update(_pieces(_forms(line) if number < LINES else [line]))
    return Known(found)


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Only the characters that no neighbour takes part in.
            encoded = encode(b"\0" * shift + secret)
            start = (shift * 8 + 5) // 6
            end = (shift + len(secret)) * 8 // 6
            piece = encoded[start:end]
            if len(piece) >= 2 * SHORTEST:
                yield piece


def _pieces(forms: Iterable[bytes]) -> Iterator[bytes]:
    for form in forms:
        text = form.translate(None, _BREAKS)
        if len(text) < SHORTEST:
            continue
        start = 0
        while len(text) - start >= 2 * PIECE:
            yield text[start : start + PIECE]
            start += PIECE
        yield text[start:]


class Known:
    """What is looked for, none of it with a line break in it. Made once; streams share it."""

    def __init__(self, found: Iterable[bytes]) -> None:
        self._all = frozenset(found)
        self._sorted = sorted(self._all)
        self._longest = max(map(len, self._sorted), default=0)
        lengths: dict[bytes, set[int]] = {}
        for each in self._sorted:
            lengths.setdefault(each[:SHORTEST], set()).add(len(each))
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._lengths: dict[bytes, tuple[int, ...]] = {}
        """By the first bytes, longest first."""
        for start, sizes in lengths.items():
            ordered = tuple(sorted(sizes, reverse=True))
            self._lengths[start] = shared.setdefault(ordered, ordered)
        self._likely = _likely(self._lengths)

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def starts(self, text: bytes) -> Iterator[int]:
        """Where one may begin, in order."""
        for match in self._likely.finditer(text):
            if text[match.start() : match.start() + SHORTEST] in self._lengths:
                yield match.start()
        yield from range(max(0, len(text) - SHORTEST + 1), len(text))

    def size_at(self, text: bytes, start: int) -> int:
        """Of the longest that lies there; 0: none."""
        for size in self._lengths.get(text[start : start + SHORTEST], ()):
            piece = text[start : start + size]
            if len(piece) == size and piece in self._all:
                return size
        return 0

    def may_go_on(self, text: bytes, start: int) -> bool:
        """All from there on is the beginning of one."""
        if len(text) - start >= self._longest:
            return False
        tail = text[start:]
        after = bisect_right(self._sorted, tail)
        return after < len(self._sorted) and self._sorted[after].startswith(tail)


def _likely(starts: Iterable[bytes]) -> re.Pattern[bytes]:
    columns = [{each[column : column + 1] for each in starts} for column in range(SHORTEST)]
    classes = [b"[" + b"".join(map(re.escape, sorted(column))) + b"]" for column in columns if column]
    return re.compile(b"(?=" + b"".join(classes) + b")")


class _Unbroken:
    """Bytes without their line breaks, and where they were."""

    def __init__(self, data: bytes) -> None:
        self.text = data.translate(None, _BREAKS)
        self._size = len(data)
        self._gaps = [match.start() - number for number, match in enumerate(re.finditer(rb"[\r\n]", data))]
        """For each break the byte of ``text`` that it stands before."""

    def place(self, at: int) -> int:
        return self._size if at >= len(self.text) else at + bisect_right(self._gaps, at)

    def left(self, at: int) -> int:
        return self._size - self.place(at)

    def end(self, at: int) -> int:
        """Just behind the byte before ``at``."""
        return self.place(at - 1) + 1 if at else 0


class Redactor:
    """For one stream; not for several threads."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._held = b""
        self._shown = 0
        """Bytes of ``_held`` that were passed on already."""
        self._covered: int | None = None
        """Bytes of ``_held``, without breaks, that the mark passed on last covers; None: no mark was last."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be passed on."""
        return self._take(self._held + chunk) if self._known else chunk

    def finish(self) -> bytes:
        """What was held back."""
        return self._take(self._held, last=True) if self._known else b""

    def _take(self, data: bytes, *, last: bool = False) -> bytes:
        unbroken = _Unbroken(data)
        spans, hold = self._look(unbroken, last=last)
        clean, done = self._marked(data, unbroken, spans, hold)
        cut = unbroken.place(hold)
        self._covered = None
        if spans and (spans[-1][1] > hold or (unbroken.end(hold) == cut and spans[-1][1] == hold)):
            self._covered = spans[-1][1] - hold
        self._held, self._shown = data[cut:], max(0, done - cut)
        return clean + self._whole_lines()

    def _look(self, unbroken: _Unbroken, *, last: bool) -> tuple[list[tuple[int, int]], int]:
        """What is secret, and from where on the next chunk must tell."""
        text, known = unbroken.text, self._known
        spans = [] if self._covered is None else [(0, self._covered)]
        for start in known.starts(text):
            if not last and known.may_go_on(text, start) and unbroken.left(start) < _HELD:
                return spans, start
            if size := known.size_at(text, start):
                before, end = spans[-1] if spans else (0, -1)
                touches = start == end and unbroken.place(start) == unbroken.end(end)
                if start < end or touches:
                    spans[-1] = (before, max(end, start + size))
                else:
                    spans.append((start, start + size))
        return spans, len(text)

    def _marked(
        self, data: bytes, unbroken: _Unbroken, spans: list[tuple[int, int]], hold: int
    ) -> tuple[bytes, int]:
        """What can be passed on of all before ``hold``, and how far in ``data`` that is."""
        out: list[bytes] = []
        done = self._shown
        for number, (start, end) in enumerate(spans):
            if number or self._covered is None:
                out += [data[done : unbroken.place(start)], MARK]
            done = max(done, unbroken.end(min(end, hold)))
        cut = unbroken.place(hold)
        out.append(data[done:cut])
        return b"".join(out), max(done, cut)

    def _whole_lines(self) -> bytes:
        """Of what is held: lines that are whole and end with little that could be a secret's."""
        cut = max(self._held.rfind(each) for each in (b"\r", b"\n")) + 1
        few = len(self._held[:cut].translate(None, _BREAKS)) < _UNSEEN
        if cut <= self._shown or not few or self._covered is not None:
            return b""
        text = self._held.translate(None, _BREAKS)
        if any(self._known.size_at(text, start) for start in range(len(text))):
            return b""
        clean, self._shown = self._held[self._shown : cut], cut
        return clean


def redact(text: str, known: Known) -> str:
    """A whole text, such as an error's message."""
    redactor = Redactor(known)
    data = redactor.feed(text.encode(errors="surrogateescape")) + redactor.finish()
    return data.decode(errors="replace")
