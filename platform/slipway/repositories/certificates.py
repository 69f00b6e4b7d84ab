"""Names of uploads that say themselves which repository they were begun for, when, and by which process.

So an upload may go on without a row. Time, process, count and mark are 32 hex digits like the name of any
row; the mark is made from the others and the repository's path, with Django's secret.
"""

from __future__ import annotations

import hmac
import itertools
import os
import time
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "slipway.repositories.upload"
_counts = itertools.count(int.from_bytes(os.urandom(2)))


class _Process:
    """Three bytes nobody else has; others after a fork."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.name = os.urandom(3)


_process = _Process()
os.register_at_fork(after_in_child=_process.renew)


@dataclass(frozen=True)
class Certificate:
    began: float
    """Seconds since the epoch."""
    is_ours: bool
    """Whether this very process gave it out."""


def new_upload_id(path: str, now: float | None = None) -> UUID:
    began = int(now if now is not None else time.time())
    head = began.to_bytes(4) + _process.name + (next(_counts) & 0xFFFFFF).to_bytes(3)
    return UUID(bytes=head + _mark(head, path, settings.SECRET_KEY))


def read(upload_id: UUID, path: str) -> Certificate | None:
    """None for a name that was not given out for the repository at ``path``."""
    head, mark = upload_id.bytes[:10], upload_id.bytes[10:]
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(hmac.compare_digest(mark, _mark(head, path, secret)) for secret in secrets):
        return None
    return Certificate(float(int.from_bytes(head[:4])), head[4:7] == _process.name)


def _mark(head: bytes, path: str, secret: str) -> bytes:
    return salted_hmac(_SALT, head + path.encode(), secret, algorithm="sha256").digest()[:6]
