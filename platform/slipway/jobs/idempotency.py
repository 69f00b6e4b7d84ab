"""``Idempotency-Key``: the same request sent again is answered the same and done once.

The key's row is written in the transaction of what the request does. Who comes second waits for that
transaction and finds the answer; a server that dies, or a request that fails, leaves neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest
from slipway.jobs.errors import IdempotencyMismatch
from slipway.jobs.models import IdempotentAnswer

LIFE = timedelta(hours=24)
KEY_MAX = 255
HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    location: str = ""
    replayed: bool = False


def parse_key(text: str) -> str:
    """Raise ``InvalidRequest``."""
    if not 1 <= len(text) <= KEY_MAX or not text.isascii() or not text.isprintable():
        raise InvalidRequest(
            f"{HEADER}: 1 to {KEY_MAX} printable ASCII characters are needed; a UUID does.", field=HEADER
        )
    return text


def fingerprint(*parts: bytes) -> str:
    """Of all that makes a request what it is."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def once(actor: Actor, key: str, mark: str, act: Callable[[], Answer]) -> Answer:
    """What ``act`` answers, or has answered to the same request in the last 24 hours.

    Raise ``IdempotencyMismatch`` when the key came with another request, and whatever ``act`` raises: then
    nothing was done, and the key is free again.
    """
    mine = IdempotentAnswer.objects.filter(actor=actor.identity, key=key)
    try:
        with transaction.atomic():
            mine.filter(created_at__lt=timezone.now() - LIFE).delete()
            row = IdempotentAnswer(actor=actor.identity, key=key, fingerprint=mark)
            with transaction.atomic():
                row.save(force_insert=True)
            return _keep(row, act())
    except IntegrityError as error:
        known = mine.first()
        if known is None:
            raise  # not the key's: something else was there already
        return _replay(known, mark, error)


def _keep(row: IdempotentAnswer, answer: Answer) -> Answer:
    row.status, row.location = answer.status, answer.location
    row.body = "" if answer.body is None else json.dumps(answer.body)
    row.save(update_fields=["status", "body", "location"])
    return answer


def _replay(known: IdempotentAnswer, mark: str, error: IntegrityError) -> Answer:
    if known.fingerprint != mark:
        raise IdempotencyMismatch(
            f"{HEADER}: this key came with another request before; use a new one.",
            key=known.key[:80],
        ) from error
    body = json.loads(known.body) if known.body else None
    return Answer(known.status, body, known.location, replayed=True)


def forget_old(now: datetime) -> int:
    return IdempotentAnswer.objects.filter(created_at__lt=now - LIFE).delete()[0]
