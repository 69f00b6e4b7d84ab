"""Wildcards of COPY and ADD, with the meaning of Go's ``filepath.Match``, which Docker uses. Pure."""

from __future__ import annotations

import functools
import re

from workers.errors import BuildFailed

_SPECIAL = frozenset("*?[\\")


def has_wildcards(text: str) -> bool:
    return not _SPECIAL.isdisjoint(text)


@functools.lru_cache(maxsize=512)
def pattern(text: str) -> re.Pattern[str]:
    """For one path component. Raise ``BuildFailed`` for a malformed pattern, as Go's ErrBadPattern."""
    out, at = "", 0
    while at < len(text):
        character = text[at]
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[":
            piece, at = _class(text, at)
            out += piece
            continue
        elif character == "\\":
            at += 1
            if at == len(text):
                raise _malformed(text)
            out += re.escape(text[at])
        else:
            out += re.escape(character)
        at += 1
    return re.compile(out, re.DOTALL)


def _class(text: str, at: int) -> tuple[str, int]:
    """``[a-z]`` or ``[^a-z]`` at ``at`` as a regular expression, and where it ends."""
    begin = at
    at += 1
    negated = text[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while True:
        if at >= len(text):
            raise _malformed(text)
        if text[at] == "]" and ranges:
            break
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-":
            high, at = _member(text, at + 1)
        ranges.append((low, high))
    body = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not body:  # only ranges the wrong way round: they match nothing
        return ("[^/]" if negated else "(?!)"), at + 1
    assert at > begin  # noqa: S101 - the loop moves on
    return (f"[^/{body}]" if negated else f"(?!/)[{body}]"), at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    if at < len(text) and text[at] == "\\":
        at += 1
    elif at < len(text) and text[at] in "-]":
        raise _malformed(text)
    if at >= len(text):
        raise _malformed(text)
    return text[at], at + 1


def unescaped(text: str) -> str:
    """The component without the backslashes before its characters."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _malformed(text: str) -> BuildFailed:
    return BuildFailed(f"syntax error in pattern {text!r}: see Go's filepath.Match", pattern=text)
