"""Secrets of people that must be readable again, encrypted at rest."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from workers.errors import SlipwayError


class Unreadable(SlipwayError):
    code = "SECRET_UNREADABLE"


def seal(text: str) -> str:
    return _fernets()[0].encrypt(text.encode()).decode()


def unseal(text: str) -> str:
    """Raise ``Unreadable`` when the installation's key is another one now."""
    for fernet in _fernets():
        try:
            return fernet.decrypt(text.encode()).decode()
        except InvalidToken:
            continue
    raise Unreadable("A stored secret does not open with SLIPWAY_SECRET_KEY_FILE, nor with an older key.")


def _fernets() -> list[Fernet]:
    """The present key first, then those that were in use before."""
    return [Fernet(_derive(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def _derive(key: str) -> bytes:
    expand = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"slipway second factors")
    return urlsafe_b64encode(expand.derive(key.encode()))
