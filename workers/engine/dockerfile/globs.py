"""Shell patterns of ``*`` and ``?`` in substitutions, matched without backtracking. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.engine.dockerfile.errors import Mistake
from workers.errors import DockerfileTooLarge

_WORK = 20_000_000
"""Letters of the pattern times letters of the value that are compared at most."""


@dataclass(frozen=True)
class Pattern:
    """Pieces of fixed length, between which stars stand; a ``?`` in a piece is None."""

    pieces: tuple[tuple[str | None, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """``*``, ``?`` and the backslash are escaped by a backslash; it may stand before ``}`` and ``/``."""
        pieces: list[list[str | None]] = [[]]
        position = 0
        while position < len(text):
            each = text[position]
            position += 1
            if each == "*":
                pieces.append([])
            elif each == "?":
                pieces[-1].append(None)
            elif each == "\\":
                escaped = text[position : position + 1]
                if escaped not in ("}", "/", "*", "?", "\\"):
                    raise Mistake(f"the pattern {text[:60]!r} has an escape that means nothing: \\{escaped}")
                position += 1
                pieces[-1].append(escaped)
            else:
                pieces[-1].append(each)
        return cls(tuple(tuple(piece) for piece in pieces))

    def without_prefix(self, value: str, *, longest: bool) -> str:
        self._affordable(value)
        end = self._end(value, 0, longest)
        return value if end is None else value[end:]

    def without_suffix(self, value: str, *, longest: bool) -> str:
        mirrored = Pattern(tuple(piece[::-1] for piece in self.pieces[::-1]))
        return mirrored.without_prefix(value[::-1], longest=longest)[::-1]

    def replace(self, value: str, replacement: str, *, every: bool) -> str:
        """The leftmost, then longest, match; or all of them, one after the other."""
        self._affordable(value)
        text, position, behind = [], 0, -1
        while (found := self._search(value, position)) is not None:
            start, end = found
            text.append(value[position:start])
            if end > start or start != behind:  # nothing between a match and what follows it
                text.append(replacement)
            position = behind = end
            if end == start:
                text.append(value[end : end + 1])
                position = end + 1
            if not every or position > len(value):
                break
        return "".join([*text, value[position:]])

    def _affordable(self, value: str) -> None:
        if sum(map(len, self.pieces)) * len(value) > _WORK:
            raise Mistake(
                "a pattern and the value it is matched against are too long", kind=DockerfileTooLarge
            )

    def _search(self, value: str, position: int) -> tuple[int, int] | None:
        start = _find(self.pieces[0], value, position)
        if start is None:
            return None
        # If the rest does not follow the first of all places, it follows no later one.
        end = self._end(value, start, True)
        return None if end is None else (start, end)

    def _end(self, value: str, start: int, longest: bool) -> int | None:
        """Where a match that begins at ``start`` ends."""
        first, *others = self.pieces
        if not _expression(first).match(value, start):
            return None
        end = start + len(first)
        for piece in others:
            found = _find(piece, value, end)
            if found is None:
                return None
            end = found + len(piece)
        if others and longest:
            last = others[-1]
            mirrored = _find(last[::-1], value[::-1], 0)
            end = max(end, len(value) - (mirrored or 0))
        return end


def _find(piece: tuple[str | None, ...], value: str, position: int) -> int | None:
    found = _expression(piece).search(value, position)
    return found.start() if found else None


def _expression(piece: tuple[str | None, ...]) -> re.Pattern[str]:
    return re.compile("".join("." if each is None else re.escape(each) for each in piece), re.DOTALL)
