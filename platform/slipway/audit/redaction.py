"""What must never be in the log; pure. Callers pass no secrets: this is for the day one does."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

HIDDEN = "(hidden)"
TEXT_MAX = 2000
ITEMS_MAX = 100
DEPTH_MAX = 6

_TOKEN = re.compile(r"slp_([0-9A-Za-z]{4,12})_[0-9A-Za-z]{8,}")
_SECRET_NAME = re.compile(
    r"(^|[_.-])(password|passwd|secret|secrets|token|credential|authorization|cookie|env|private_key|otp|totp)"
    r"([_.-]|$)",
    re.IGNORECASE,
)


def clean(value: Any, depth: int = 0) -> Any:
    """``value`` as plain JSON without tokens, values under secret names, NULs or endless text."""
    if isinstance(value, str):
        return clean_text(value, TEXT_MAX)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # As text: databases write numbers in ways of their own, and the digest covers every digit.
        return repr(value)
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.isoformat()
    if depth >= DEPTH_MAX:
        return HIDDEN
    if isinstance(value, dict):
        return {clean_text(str(key), 200): _value(key, each, depth) for key, each in _first(value)}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else list(value)
        return [clean(each, depth + 1) for each in items[:ITEMS_MAX]]
    return clean_text(str(value), TEXT_MAX)


def _value(key: object, value: Any, depth: int) -> Any:
    return HIDDEN if value and _SECRET_NAME.search(str(key)) else clean(value, depth + 1)


def _first(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return list(value.items())[:ITEMS_MAX]


def clean_text(text: str, length: int) -> str:
    """Without the secret part of tokens, without what PostgreSQL cannot hold, cut to ``length``."""
    shown = _TOKEN.sub(r"slp_\1_…", text).replace("\0", "�")
    return shown.encode("utf-8", "replace").decode()[:length]
