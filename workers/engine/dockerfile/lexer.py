"""Text -> logical lines: directives, comments, continuations, heredocs. Pure, in linear time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.expansion import SPACES, Lexicon
from workers.engine.dockerfile.locations import Location
from workers.errors import DockerfileTooLarge

MAX_CHARACTERS = 2 << 20
MAX_LINES = 200_000

_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_CONTINUED = {
    "\\": re.compile(r"(?:(?<=[^\\])|^)\\[ \t]*$"),
    "`": re.compile(r"(?:(?<=[^`])|^)`[ \t]*$"),
}
_HEREDOC = re.compile(r"(\d*)<<(-?)[ \t]*([^<]*)")
_HEREDOC_ALONE = re.compile(r"\d*<<-?")


@dataclass(frozen=True)
class Heredoc:
    name: str
    expand: bool
    """The name was not quoted."""
    chomp: bool
    """``<<-``: leading tabs are taken away, of the lines and of the end mark."""
    content: str = ""
    """As written, line ends included."""

    @property
    def chomped(self) -> str:
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclass(frozen=True)
class LogicalLine:
    text: str
    """Without comments, continuation marks and line ends."""
    first_line: int
    last_line: int
    comments: tuple[str, ...]
    """Those right above, without ``#``."""
    empty_continuation: bool
    """A blank line stands within it."""


class Lexer:
    """Reads a Dockerfile line by line; heredocs are taken by whoever knows that they begin."""

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self._in_head = True
        self._comments: list[str] = []
        self._at = 0
        """Lines taken so far."""
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._check(text)

    def location(self, first: int, last: int) -> Location:
        return Location(self.filename, first, last, "\n".join(self._lines[first - 1 : last]).rstrip("\r"))

    @property
    def last(self) -> Location:
        return self.location(max(1, self._at), max(1, self._at))

    def read(self) -> LogicalLine | None:
        """The next line with an instruction. Raise ``InvalidDockerfile``."""
        while self._at < len(self._lines):
            raw = self._take().lstrip(SPACES)
            self._directive(raw)
            if raw.startswith("#") or not raw:
                self._comment(raw)
                continue
            text, more = self._continued(raw)
            line = self._rest([text], more)
            if line.text.strip(SPACES):
                return line
        return None

    def heredoc(self, begun: Heredoc, first_line: int) -> Heredoc:
        """Take the lines up to the end mark. Raise ``InvalidDockerfile`` if there is none."""
        content: list[str] = []
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            self._at += 1
            line = raw.rstrip("\r")
            if (line.lstrip("\t") if begun.chomp else line) == begun.name:
                return Heredoc(begun.name, begun.expand, begun.chomp, "".join(content))
            content.append(raw + "\n")
        mistake = Mistake(
            f"the heredoc <<{begun.name} is not ended: a line with nothing but {begun.name} is missing", "<<"
        )
        raise mistake.at(self.location(first_line, first_line))

    # ------------------------------------------------------------------ one line

    def _take(self) -> str:
        line = self._lines[self._at]
        self._at += 1
        return line.rstrip("\r")

    def _rest(self, parts: list[str], more: bool) -> LogicalLine:
        first, empty = self._at, False
        while more and self._at < len(self._lines):
            raw = self._take()
            stripped = raw.lstrip(SPACES)
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty = True
                continue
            text, more = self._continued(raw)
            parts.append(text)
        comments, self._comments = tuple(self._comments), []
        return LogicalLine("".join(parts), first, self._at, comments, empty)

    def _continued(self, line: str) -> tuple[str, bool]:
        mark = _CONTINUED[self.escape].search(line)
        return (line[: mark.start()], True) if mark else (line, False)

    def _comment(self, raw: str) -> None:
        comment = raw[1:].strip(SPACES)
        if comment:
            self._comments.append(comment)
        else:
            self._comments = []

    # ------------------------------------------------------------------ the head

    def _directive(self, raw: str) -> None:
        """Directives stand above everything else, each once."""
        if not self._in_head:
            return
        word, _, value = raw.removeprefix("#").partition("=")
        name, value = word.strip(SPACES).lower(), value.strip(SPACES)
        if not raw.startswith("#") or name not in _DIRECTIVES or not value:
            self._in_head = False
            return
        if name in self.directives:
            raise Mistake(f"the directive {name} is given twice", word.strip(SPACES)).at(self.last)
        self.directives[name] = value
        if name == "escape":
            if value not in _CONTINUED:
                raise Mistake(f"the directive escape is {value[:20]!r}; it can be \\ or `", value).at(
                    self.last
                )
            self.escape = value

    def _check(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise self._too_large(f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are read")
        if len(self._lines) > MAX_LINES:
            raise self._too_large(f"the file has {len(self._lines)} lines; at most {MAX_LINES} are read")
        for letter, what in (("\0", "a NUL character"), ("\ufffe", "a character that is none")):
            if letter in text:
                line = text[: text.index(letter)].count("\n") + 1
                raise Mistake(f"the line holds {what}").at(self.location(line, line))

    def _too_large(self, why: str) -> DockerfileTooLarge:
        return DockerfileTooLarge(f"{self.filename}: {why}", file=self.filename)


# --------------------------------------------------------------------------- heredocs


def parse_heredoc(word: str) -> Heredoc | None:
    """``<<EOF``, ``<<-EOF``, ``<<"EOF"``; None if the word is no heredoc. Raise ``Mistake``."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    plain = Lexicon(keep_unknown=True).expand(match[3], {}).words
    if len(plain) != 1:
        return None
    quoted = Lexicon(keep_unknown=True, keep_quotes=True).expand(match[3], {}).words
    name = plain[0]
    return Heredoc(name, expand=_quotes(name) == sum(map(_quotes, quoted)), chomp=match[2] == "-")


def heredocs_of(line: str) -> tuple[Heredoc, ...]:
    """The heredocs that begin in a logical line, in their order. Raise ``Mistake``."""
    if "<<" not in line:
        return ()
    try:
        words = Lexicon(keep_quotes=True, keep_escapes=True, keep_unknown=True).expand(line, {}).words
    except Mistake:
        return ()  # quotes that do not match are the shell's business
    return tuple(found for word in join_marks(words) if (found := parse_heredoc(word)))


def join_marks(words: tuple[str, ...]) -> tuple[str, ...]:
    """``<< EOF`` is one word."""
    joined: list[str] = []
    for word in words:
        if joined and _HEREDOC_ALONE.fullmatch(joined[-1]):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return tuple(joined)


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
