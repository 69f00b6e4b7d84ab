"""What is wrong with a Dockerfile: file, line, the text with a marker under the spot, a suggestion.

Code that reads one instruction raises ``Mistake``; whoever knows the place makes the error of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from workers.engine.dockerfile.locations import Location
from workers.errors import InvalidDockerfile

_LONGEST_GUESS = 40
_MOST_COMPARED = 200
_MOST_EDITS = 3


class Mistake(ValueError):
    """A mistake whose place is not known yet. ``near``: the fragment of the text to put the marker under."""

    def __init__(
        self,
        message: str,
        near: str = "",
        *,
        suggestion: str = "",
        kind: type[InvalidDockerfile] = InvalidDockerfile,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.near = near
        self.suggestion = suggestion
        self.kind = kind

    def at(self, location: Location) -> InvalidDockerfile:
        """The error with all its facts: file, line, column (from 1), text, marker, suggestion."""
        spot = location.find(self.near)
        text, marker = spot.marked
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return self.kind(
            f"{location.file}:{spot.line}: {self.message}{hint}",
            file=location.file,
            line=spot.line,
            column=spot.column + 1,
            text=text,
            marker=marker,
            suggestion=self.suggestion or None,
        )


def explain(error: InvalidDockerfile) -> str:
    """The error as people read it in a terminal: message, line, marker."""
    line, text, marker = (error.facts.get(name) for name in ("line", "text", "marker"))
    if text is None:
        return error.message
    number = str(line)
    return f"{error.message}\n  {number} | {text}\n  {' ' * len(number)} | {marker}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of ``known`` that ``word`` was probably meant to be, or nothing. Case does not count."""
    if len(word) > _LONGEST_GUESS:
        return ""
    best, fewest = "", min(_MOST_EDITS, max(1, len(word) // 3)) + 1 if len(word) > 1 else 1
    for each in islice(known, _MOST_COMPARED):
        edits = _edits(word.lower(), each.lower(), fewest - 1)
        if edits == 0 and each != word:
            return each
        if 0 < edits < fewest:
            best, fewest = each, edits
    return best


def _edits(one: str, other: str, limit: int) -> int:
    """Letters to insert, delete, replace or swap with their neighbour; not counted beyond ``limit``."""
    over = limit + 1
    if abs(len(one) - len(other)) > limit:
        return over
    older: dict[int, int] = {}
    last = {j: j for j in range(limit + 1)}
    for i, left in enumerate(one, 1):
        row = {0: i} if i <= limit else {}
        for j in range(max(1, i - limit), min(len(other), i + limit) + 1):  # farther off it is over anyway
            right = other[j - 1]
            fewest = min(
                last.get(j, over) + 1, row.get(j - 1, over) + 1, last.get(j - 1, over) + (left != right)
            )
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                fewest = min(fewest, older.get(j - 2, over) + 1)
            row[j] = min(fewest, over)
        older, last = last, row
    return last.get(len(other), over)
