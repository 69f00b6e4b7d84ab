"""The text of a token: ``slp_<prefix>_<secret><checksum>``; pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass

from slipway.accounts.errors import InvalidToken

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX_LENGTH = 8
SECRET_LENGTH = 32  # 190 bits
CHECKSUM_LENGTH = 6


@dataclass(frozen=True)
class Credential:
    prefix: str
    secret: str

    @classmethod
    def generate(cls) -> Credential:
        return cls(_random(PREFIX_LENGTH), _random(SECRET_LENGTH))

    @classmethod
    def parse(cls, text: str) -> Credential:
        """Raise ``InvalidToken`` for anything that was never a token of ours, without asking the database."""
        parts = text.split("_")
        whole = (
            len(parts) == 3
            and parts[0] == "slp"
            and len(parts[1]) == PREFIX_LENGTH
            and len(parts[2]) == SECRET_LENGTH + CHECKSUM_LENGTH
            and parts[1].isascii()
            and parts[2].isascii()
        )
        if not whole:
            raise InvalidToken("This is not a Slipway token; they look like slp_<prefix>_<secret>.")
        found = cls(parts[1], parts[2][:SECRET_LENGTH])
        if not hmac.compare_digest(found.checksum, parts[2][SECRET_LENGTH:]):
            raise InvalidToken("This token is mistyped or cut off: its checksum does not fit.")
        return found

    @property
    def checksum(self) -> str:
        number = zlib.crc32(f"{self.prefix}_{self.secret}".encode())
        digits = ""
        for _ in range(CHECKSUM_LENGTH):
            number, digit = divmod(number, len(_ALPHABET))
            digits = _ALPHABET[digit] + digits
        return digits

    @property
    def digest(self) -> str:
        """What is kept. No salt or slow hash: the secret is 190 random bits, not a password."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def __str__(self) -> str:
        return f"slp_{self.prefix}_{self.secret}{self.checksum}"

    def __repr__(self) -> str:
        return f"Credential({self.prefix})"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
