"""Digests: the names of exact bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from workers.errors import InvalidDigest

DIGEST_LENGTH = 140
"""Characters of a column that holds any digest; the longest written has 135."""
_HEX_LENGTH = {"sha256": 64, "sha512": 128}


class Hasher(Protocol):
    """What of ``hashlib`` is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, order=True)
class Digest:
    """``sha256:…`` or ``sha512:…``, in lower-case hex; safe as a path component."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Raise ``InvalidDigest`` on anything but algorithm, colon and hex of the right length."""
        if not isinstance(text, str):
            raise InvalidDigest(f"A digest is text, not {type(text).__name__}")
        algorithm, _, digits = text.partition(":")
        if _HEX_LENGTH.get(algorithm) != len(digits) or set(digits) - set("0123456789abcdef"):
            raise InvalidDigest(
                f"{text[:160]!r} is no digest: 'sha256:' and 64, or 'sha512:' and 128 hex digits expected",
                digest=text[:160],
            )
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def hasher(algorithm: str = "sha256") -> Hasher:
    if algorithm not in _HEX_LENGTH:
        raise InvalidDigest(f"{algorithm[:40]!r} is not supported; use sha256 or sha512")
    return hashlib.new(algorithm)
