"""What is known of how an image was made. Rooms above ours know; here they are asked."""

from __future__ import annotations

from collections.abc import Callable

Finder = Callable[[str, str], str]
"""(scope, image id): an in-toto statement, or nothing."""
_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Safe to repeat."""
    if finder not in _finders:
        _finders.append(finder)


def statement_of(scope: str, image_id: str) -> str:
    """The first that is known; empty for an image nobody here made."""
    return next((found for finder in _finders if (found := finder(scope, image_id))), "")
