"""Places in a Dockerfile, and what is to be said about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """Lines count from 1; ``text`` is the instruction as written, over all its lines."""

    file: str
    first_line: int
    last_line: int
    text: str

    def find(self, fragment: str) -> Spot:
        """Where ``fragment`` stands; if nowhere (it was put together from several lines), the first word."""
        lines = self.text.split("\n")
        for number, line in enumerate(lines):
            is_comment = number > 0 and line.lstrip().startswith("#")  # the first line may be a directive
            column = line.find(fragment) if fragment and not is_comment else -1
            if column >= 0:
                return Spot(self.first_line + number, column, len(fragment), line)
        first = lines[0]
        column = len(first) - len(first.lstrip())
        return Spot(
            self.first_line, column, max(1, len(first.split(maxsplit=1)[0]) if first.strip() else 1), first
        )

    def facts(self, fragment: str) -> dict[str, str | int]:
        """Of an error at this place, as people see it."""
        spot = self.find(fragment)
        text, marker = spot.marked
        return {"file": self.file, "line": spot.line, "text": text, "marker": marker}


@dataclass(frozen=True)
class Spot:
    line: int
    column: int
    """From 0."""
    length: int
    text: str
    """The whole line."""

    @property
    def marked(self) -> tuple[str, str]:
        """A piece of the line that holds the spot, and the marker to print under it."""
        start = max(0, self.column - _BEFORE) if self.column + self.length > _WIDTH else 0
        shown = self.text[start : start + _WIDTH].rstrip("\r\n")
        pad = "".join("\t" if each == "\t" else " " for each in shown[: self.column - start])
        return shown, pad + "^" * max(1, min(self.length, len(shown) - len(pad)))


_WIDTH = 160
_BEFORE = 60


@dataclass(frozen=True)
class Finding:
    """What a check (``checks``) has to say; it does not stop a build."""

    rule: str
    """``StageNameCasing``; the names are BuildKit's."""
    message: str
    location: Location

    @property
    def shown(self) -> str:
        return f"{self.rule}: {self.message} ({self.location.file}:{self.location.first_line})"
