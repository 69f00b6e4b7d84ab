"""``.dockerignore``: which files of a build context stay out, by Docker's rules. Pure.

Only the standard library is imported: the command line has a copy of this very file (ADR 57).

The last pattern that matches a path, or a directory above it, decides; ``!`` takes files in again.
A context is walked from its root: ``Ignore.root.enter(name)`` says of each entry whether it is
excluded, and of an excluded directory whether anything below may be in (``prunable``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_PATTERNS = 2000
MAX_ODD = 100
"""Patterns that cannot be compared name by name."""
MAX_LENGTH = 4096
_DEEP = "**"


class InvalidPattern(ValueError):
    """A pattern with a bracket that is not closed, or the like."""


def ignore_names(dockerfile: str) -> tuple[str, str]:
    """The files to look for, the better one first: only the first that is there counts."""
    return f"{dockerfile}.dockerignore", ".dockerignore"


@dataclass(frozen=True)
class Ignore:
    patterns: tuple[_Pattern, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """Of a file's text. Raise ``InvalidPattern``."""
        lines = text.removeprefix("\ufeff").split("\n")
        return cls.of(_read(line) for line in lines if not line.startswith("#"))

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Ignore:
        """Raise ``InvalidPattern``."""
        texts = [each.strip() for each in patterns if each.strip()]
        if len(texts) > MAX_PATTERNS:
            raise InvalidPattern(f"there are {len(texts)} patterns; at most {MAX_PATTERNS} are read")
        parsed = tuple(_Pattern.parse(text) for text in texts)
        if sum(each.odd is not None for each in parsed) > MAX_ODD:
            raise InvalidPattern(f"more than {MAX_ODD} patterns hold '**' within a name or a class like [^a]")
        return cls(parsed)

    @property
    def root(self) -> Place:
        return Place(self, False, tuple((index, each.start) for index, each in enumerate(self.patterns)))

    @property
    def has_exceptions(self) -> bool:
        return any(each.exception for each in self.patterns)

    def excludes(self, path: str) -> bool:
        """Of a path below the context, ``a/b``."""
        place = self.root
        for name in path.strip("/").split("/"):
            place = place.enter(name)
        return place.excluded

    def may_include_below(self, directory: str) -> bool:
        """False only if everything below the directory is excluded."""
        place = self.root
        for name in directory.strip("/").split("/"):
            place = place.enter(name)
        return not place.prunable


@dataclass(frozen=True)
class Place:
    """Where a walk through a context has come to."""

    ignore: Ignore
    excluded: bool
    states: tuple[tuple[int, _State], ...]
    """Patterns that may match something below."""
    matched: frozenset[int] = frozenset()
    """Patterns that decided about this directory or one above it."""
    path: str = ""

    @property
    def prunable(self) -> bool:
        """Excluded with all below."""
        return self.excluded and not any(self.ignore.patterns[index].exception for index, _ in self.states)

    def enter(self, name: str) -> Place:
        path = f"{self.path}/{name}" if self.path else name
        alive: list[tuple[int, _State]] = []
        hits: set[int] = set()
        for index, state in self.states:
            hit, following = self.ignore.patterns[index].step(state, name, path)
            if hit:
                hits.add(index)
            if following:
                alive.append((index, following))
        excluded, matched = self._decide(hits)
        return Place(self.ignore, excluded, tuple(alive), matched, path)

    def _decide(self, hits: set[int]) -> tuple[bool, frozenset[int]]:
        """In order; a pattern that would change nothing is not asked, and is not said to have matched."""
        excluded = False
        matched: set[int] = set()
        for index in sorted(hits | self.matched):
            exception = self.ignore.patterns[index].exception
            if index in self.matched or (exception == excluded and index in hits):
                matched.add(index)
                excluded = not exception
        return excluded, frozenset(matched)


# --------------------------------------------------------------------------- patterns

_State = tuple[int, ...]
"""Positions in the pattern's parts that the next name is compared with, or of an odd pattern the places it
has come to; empty: no match below."""


@dataclass(frozen=True)
class _Pattern:
    """Compared name by name; what crosses slashes in odd places, letter by letter (``odd``)."""

    text: str
    exception: bool
    parts: tuple[re.Pattern[str] | None, ...] = ()
    """One per name; None is ``**``."""
    odd: tuple[_Token, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> _Pattern:
        if len(text) > MAX_LENGTH:
            raise InvalidPattern(f"the pattern {text[:40]!r}… is longer than {MAX_LENGTH} characters")
        text = _clean(text)
        exception = text.startswith("!")
        if exception:
            text = text[1:]
            if not text:
                raise InvalidPattern("'!' stands alone; a pattern was expected after it")
        tokens = _tokens(text)
        if _is_odd(text, tokens):
            return cls(text, exception, odd=tokens)
        parts = tuple(None if each == _DEEP else _name(_tokens(each)) for each in _split(text))
        return cls(text, exception, parts)

    @property
    def start(self) -> _State:
        return tuple(sorted(_reach(self.odd, {0}))) if self.odd is not None else self._closed({0})

    def step(self, state: _State, name: str, path: str) -> tuple[bool, _State]:
        """Whether the path that ends in ``name`` matches, and with what to go on below."""
        if self.odd is not None:
            return _step(self.odd, state, name, path)
        following: set[int] = set()
        for position in state:
            part = self.parts[position]
            if part is None:
                following.add(position)
                if position + 1 == len(self.parts):
                    following.add(position + 1)
            elif part.fullmatch(name):
                following.add(position + 1)
        end = len(self.parts)
        return end in following, self._closed(following - {end})

    def _closed(self, positions: set[int]) -> _State:
        """``**`` in front of another part also stands for no name at all."""
        for position in sorted(positions):
            while position + 1 < len(self.parts) and self.parts[position] is None:
                position += 1
                positions.add(position)
        return tuple(sorted(positions))


_Token = str
"""A letter behind ``=``, an escaped one behind a backslash, a class in brackets, or one of these."""
_STAR, _ANY, _ALL, _DIRECTORIES = "*", "?", "**", "**/"
"""[^/]*, [^/], .* and (.*/)?."""
_EMPTY = frozenset({_STAR, _ALL, _DIRECTORIES})


def _read(line: str) -> str:
    """A line of a file: blanks around it, and a slash before it, mean nothing."""
    line = line.strip()
    exception = line.startswith("!")
    pattern = line[1:].strip() if exception else line
    if pattern:
        pattern = _clean(pattern)
        pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
    return f"!{pattern}" if exception else pattern


def _clean(path: str) -> str:
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def _tokens(text: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        each = text[position]
        if text.startswith("**", position):
            position += 2
            if text.startswith("/", position):
                position += 1
            tokens.append(_ALL if position == len(text) else _DIRECTORIES)
        elif each in "*?":
            tokens.append(each)
            position += 1
        elif each == "[":
            end = _class_end(text, position)
            tokens.append(text[position:end])
            position = end
        elif each == "\\":
            if position + 1 == len(text):
                raise InvalidPattern(f"the pattern {text!r} ends in a backslash")
            tokens.append("\\" + text[position + 1])
            position += 2
        else:
            tokens.append("=" + each)
            position += 1
    return tuple(tokens)


def _class_end(text: str, start: int) -> int:
    """Behind the bracket that closes; ranges are checked on the way."""
    position = start + 1 + text.startswith("^", start + 1)
    first = position
    while text[position : position + 1] != "]" or position == first:
        low, position = _member(text, position)
        if text.startswith("-", position):
            high, position = _member(text, position + 1)
            if high < low:
                raise InvalidPattern(f"the pattern {text!r} has a range that goes backwards")
    return position + 1


def _member(text: str, position: int) -> tuple[str, int]:
    each = text[position : position + 1]
    if each == "\\":
        position += 1
        each = text[position : position + 1]
    elif each in ("-", "]"):
        each = ""
    if not each:
        raise InvalidPattern(f"the pattern {text!r} has a '[' that is not closed, or nothing in it")
    return each, position + 1


def _is_odd(text: str, tokens: tuple[_Token, ...]) -> bool:
    """Whether it cannot be cut at its slashes."""
    classes = [each for each in tokens if each.startswith("[")]
    if any(each.startswith("[^") or _expression(each).fullmatch("/") for each in classes):
        return True  # a class may match a slash
    return any("**" in name and name != _DEEP for name in _split(text)) or "\\/" in text


def _split(text: str) -> list[str]:
    return text.split("/")


def _name(tokens: tuple[_Token, ...]) -> re.Pattern[str]:
    """A star takes as little as it can, once and for all, but for the last one: no backtracking."""
    last = max((index for index, each in enumerate(tokens) if each == _STAR), default=-1)
    expression, opened = "", False
    for index, each in enumerate(tokens):
        if each != _STAR:
            expression += _expression(each).pattern
            continue
        expression += ")" if opened else ""
        opened = index != last
        expression += "(?>.*?" if opened else ".*"
    return re.compile(expression, re.DOTALL)


@lru_cache(maxsize=1024)
def _expression(token: _Token) -> re.Pattern[str]:
    if token.startswith("["):
        inner = re.sub(r"\\?(.)", lambda found: _in_class(found[0]), token[1:-1], flags=re.DOTALL)
        return re.compile(f"[{inner}]", re.DOTALL)
    return re.compile("[^/]" if token == _ANY else re.escape(token[1:]), re.DOTALL)


def _in_class(member: str) -> str:
    return member if member in ("^", "-") else "\\" + member[-1] if not member[-1].isalnum() else member[-1]


def _step(tokens: tuple[_Token, ...], state: _State, name: str, path: str) -> tuple[bool, _State]:
    """Whether ``path`` matches, and the places it has come to: what is above ``name`` was read before.

    A place is twice the token's index; one more is inside a ``(.*/)?`` that has begun.
    """
    if tokens[0] == _DIRECTORIES and all(each.startswith("=") for each in tokens[1:]):
        # '**' in front of nothing but plain text: the text may begin anywhere in a name.
        return path.endswith("".join(each[1:] for each in tokens[1:])), state
    places = set(state)
    for letter in name if len(path) == len(name) else "/" + name:
        places = _reach(tokens, {over for place in places for over in _over(tokens, place, letter)})
        if not places:
            break
    end = 2 * len(tokens)
    return end in places, tuple(sorted(places - {end}))


def _reach(tokens: tuple[_Token, ...], places: set[int]) -> set[int]:
    """With the places that take no letter to reach."""
    reached = set(places)
    for place in places:
        while place % 2 == 0 and place < 2 * len(tokens) and tokens[place // 2] in _EMPTY:
            place += 2
            reached.add(place)
    return reached


def _over(tokens: tuple[_Token, ...], place: int, letter: str) -> tuple[int, ...]:
    if place == 2 * len(tokens):
        return ()
    token = tokens[place // 2]
    if token == _DIRECTORIES:
        inside = place | 1
        return (inside, inside + 1) if letter == "/" else (inside,)
    if token in (_STAR, _ALL):
        return (place,) if token == _ALL or letter != "/" else ()
    if token.startswith("["):
        fits = _expression(token).fullmatch(letter) is not None
    else:
        fits = letter != "/" if token == _ANY else letter == token[1:]
    return (place + 2,) if fits else ()
