"""The digest that ties an entry to the one before; pure."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

PARTS = (
    "seq",
    "previous",
    "at",
    "actor",
    "token_prefix",
    "action",
    "object_kind",
    "object_id",
    "object_name",
    "team_id",
    "project_id",
    "origin",
    "user_agent",
    "request_id",
    "before",
    "after",
    "detail",
)
"""What a digest covers, and in this order an export shows it."""


class Link(Protocol):
    seq: int
    previous: str
    at: datetime


def body(entry: Link) -> dict[str, Any]:
    """The covered values as JSON has them: times in UTC to the microsecond, ids as hex digits."""
    return {name: _plain(getattr(entry, name)) for name in PARTS}


def digest_of(entry: Link) -> str:
    """SHA-256 of the body as JSON with sorted keys, no blanks and ASCII only; hex digits."""
    text = json.dumps(body(entry), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return value.hex
    return value
