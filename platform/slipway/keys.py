"""The platform's own keys below ``<data>/platform/keys``: Django's secret and the signing key."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from workers import sealing
from workers.errors import NodeError


def signing_key_file() -> Path:
    """Ed25519; nodes obey what it signed."""
    return Path(settings.SLIPWAY_KEYS) / "signing"


def former_secrets_file() -> Path:
    """Django's secrets of before, newest first, one a line: what they protect is still accepted."""
    secret = Path(settings.SLIPWAY_SECRET_KEY_FILE)
    return secret.with_name(f"{secret.name}.former")


def ensure() -> str:
    """Make what is missing (mode 0600, directory 0700); safe to repeat and to race. The public key's text."""
    secret = Path(settings.SLIPWAY_SECRET_KEY_FILE)
    for directory in (Path(settings.SLIPWAY_KEYS), secret.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _ensure_secret(secret)
    return sealing.public_text(sealing.ensure_signing_key(signing_key_file()).public_key())


def require() -> None:
    """Raise ``ImproperlyConfigured`` unless all keys are there: for processes that serve."""
    if not settings.configured or not Path(settings.SLIPWAY_SECRET_KEY_FILE).is_file():
        raise ImproperlyConfigured(
            f"There is no secret key at {settings.SLIPWAY_SECRET_KEY_FILE}. Run `manage.py init_keys`."
        )
    try:
        sealing.load_signing_key(signing_key_file())
    except NodeError as error:
        raise ImproperlyConfigured(
            f"There is no usable signing key at {signing_key_file()}. Run `manage.py init_keys`."
        ) from error


def new_secret() -> str:
    return secrets.token_urlsafe(64)


def _ensure_secret(file: Path) -> None:
    if file.exists():
        return
    partial = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as stream:
            stream.write(new_secret() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(partial, file)
    except FileExistsError:
        pass  # another process was first
    finally:
        partial.unlink(missing_ok=True)
