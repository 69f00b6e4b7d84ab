"""Slugs of teams and projects: part of image names and of host names, so both grammars hold."""

from __future__ import annotations

import re

from slipway.accounts.errors import InvalidName

MAX_LENGTH = 30
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESERVED = (
    "accounts admin api assets auth console docs healthz help internal library login logout me "
    "metrics new projects readyz root settings slipway static status system teams tokens v1 v2 ws www"
)
RESERVED = frozenset(_RESERVED.split())


def parse_slug(text: str, *, what: str, allow_reserved: bool = False) -> str:
    """Raise ``InvalidName``: lower-case letters, digits and single hyphens, 2 to 30, no reserved word."""
    if not 2 <= len(text) <= MAX_LENGTH or not _SLUG.fullmatch(text):
        raise InvalidName(
            f"{what} {text[:60]!r} is not a valid name: 2 to {MAX_LENGTH} lower-case letters, digits and "
            "single hyphens between them.",
            field="slug",
        )
    if text in RESERVED and not allow_reserved:
        raise InvalidName(f"{what} {text!r} is a reserved word; choose another.", field="slug")
    return text
