"""What is wrong with a Dockerfile: file, line, the text with a marker under the spot, a suggestion.

Code that reads one instruction raises ``Mistake``; whoever knows the place makes the error of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from workers.engine.dockerfile.locations import Location
from workers.errors import InvalidDockerfile

_LONGEST_GUESS = 60
_MOST_COMPARED = 200


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
    allowed = max(1, len(word) // 3) if len(word) > 1 else 0
    best, fewest = "", allowed + 1
    for each in islice(known, _MOST_COMPARED):
        if abs(len(each) - len(word)) < fewest and 0 < (edits := _edits(word.lower(), each.lower())) < fewest:
            best, fewest = each, edits
        elif each.lower() == word.lower() and each != word:
            return each
    return best


def _edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour."""
    older: list[int] = []
    last = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            fewest = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                fewest = min(fewest, older[j - 2] + 1)
            row.append(fewest)
        older, last = last, row
    return last[-1]
