"""Secrets taken out of a stream of bytes before anybody keeps it.

Each secret is looked for as it is, line by line, in base64 (at each of its three alignments, both
alphabets), in hexadecimal and URL-quoted. A match may lie across the borders of chunks: what may be the
beginning of one is held back until the next chunk, or the end, tells.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MARK = b"***"
SHORTEST = 4
"""Bytes. To take anything shorter out would take out half of any text."""


def patterns(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Every form a secret may appear in, longest first."""
    found: set[bytes] = set()
    for secret in secrets:
        whole = secret.encode(errors="surrogateescape")
        lines = {line for line in whole.splitlines() if len(line) >= 2 * SHORTEST}
        for form in {whole, whole.strip(), *lines}:
            if len(form) >= SHORTEST:
                found.update(_forms(form))
    return tuple(sorted(found, key=lambda each: (-len(each), each)))


def _forms(secret: bytes) -> Iterable[bytes]:
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


class Redactor:
    """For one stream; not for several threads."""

    def __init__(self, known: tuple[bytes, ...]) -> None:
        self._known = known
        self._longest = len(known[0]) if known else 0
        self._search = re.compile(b"|".join(map(re.escape, known))) if known else None
        self._beginnings: dict[int, set[bytes]] = {}
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be passed on."""
        if self._search is None:
            return chunk
        data = self._held + chunk
        keep = self._open_end(data)
        clean = self._search.sub(MARK, data[: len(data) - keep])
        self._held = data[len(data) - keep :]
        return clean

    def finish(self) -> bytes:
        """What was held back."""
        rest, self._held = self._held, b""
        return rest if self._search is None else self._search.sub(MARK, rest)

    def _open_end(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret, with whole ones before them.

        Found from the longest possible beginning on; a whole secret that ends later is held as well.
        """
        for size in range(min(self._longest - 1, len(data)), 0, -1):
            if data[-size:] in self._begins(size) and not self._inside_match(data, len(data) - size):
                return size
        return 0

    def _begins(self, size: int) -> set[bytes]:
        known = self._beginnings.get(size)
        if known is None:
            known = {each[:size] for each in self._known if len(each) > size}
            self._beginnings[size] = known
        return known

    def _inside_match(self, data: bytes, at: int) -> bool:
        """A secret that is whole already covers ``at``: nothing needs to be held for it."""
        assert self._search is not None  # noqa: S101 - asked only with secrets
        return any(match.start() < at < match.end() for match in self._search.finditer(data))


def redact(text: str, known: tuple[bytes, ...]) -> str:
    """A whole text, such as an error's message."""
    redactor = Redactor(known)
    data = redactor.feed(text.encode(errors="surrogateescape")) + redactor.finish()
    return data.decode(errors="replace")
