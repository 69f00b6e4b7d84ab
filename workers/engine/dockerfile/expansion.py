"""Variables in words: ``$NAME``, ``${NAME:-default}`` and the rest, with quotes and escapes. Pure.

As BuildKit has it, which is nearly as a shell has it: ``-``, ``+`` and ``?`` with and without colon,
``#``, ``##``, ``%``, ``%%`` take a pattern off, ``/`` and ``//`` replace one. What a substitution
gives is not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.globs import Pattern
from workers.errors import DockerfileTooLarge

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
LIMIT = 1 << 20
"""Characters one word may become."""
_DEPTH = 50
"""Substitutions within one another."""
_PARAMETERS = frozenset("@*#?-$!0")
_SPACE_SET = frozenset(SPACES)
_BLANKS_OR_NOT = re.compile(f"[{SPACES}]+|[^{SPACES}]+")
_PLAIN = re.compile(r"""[^$'"`\\}/]+""")
"""Letters that mean nothing anywhere."""


@dataclass(frozen=True)
class Expanded:
    text: str
    words: tuple[str, ...]
    """The text split at blanks outside quotes."""
    used: frozenset[str]
    """Variables that were there."""
    missing: frozenset[str]
    """Variables that were not."""


@dataclass(frozen=True)
class Lexicon:
    """How words are read."""

    escape: str = "\\"
    keep_quotes: bool = False
    """Quotes group but stay in the text."""
    ignore_quotes: bool = False
    """Quotes are letters like others."""
    keep_escapes: bool = False
    keep_unknown: bool = False
    """A substitution of an unknown variable stays as it is."""

    def expand(self, word: str, env: Mapping[str, str]) -> Expanded:
        """Raise ``Mistake``."""
        if _PLAIN.fullmatch(word) or not word:
            return Expanded(word, tuple(_Words.of(word)), frozenset(), frozenset())
        reader = _Reader(self, word, env)
        text, words = reader.until("", self.keep_escapes)
        return Expanded(text, tuple(words), frozenset(reader.used), frozenset(reader.missing))


class _Words:
    @classmethod
    def of(cls, text: str) -> list[str]:
        words = cls()
        words.loose(text)
        return words.finish()

    def __init__(self) -> None:
        self.done: list[str] = []
        self._word: list[str] = []

    def loose(self, text: str) -> None:
        """Text whose blanks separate words."""
        for each in _BLANKS_OR_NOT.findall(text):
            if each[0] in _SPACE_SET:
                self.finish()
            else:
                self._word.append(each)

    def firm(self, text: str) -> None:
        if text:
            self._word.append(text)

    def finish(self) -> list[str]:
        if self._word:
            self.done.append("".join(self._word))
            self._word = []
        return self.done


class _Reader:
    def __init__(self, lexicon: Lexicon, source: str, env: Mapping[str, str]) -> None:
        self.lexicon = lexicon
        self.source = source
        self.env = env
        self.position = 0
        self.depth = 0
        self.length = 0
        self.used: set[str] = set()
        self.missing: set[str] = set()

    # ------------------------------------------------------------------ letters

    def peek(self) -> str:
        return self.source[self.position] if self.position < len(self.source) else ""

    def next(self) -> str:
        each = self.peek()
        self.position += len(each)
        return each

    def wrong(self, message: str, start: int | None = None) -> Mistake:
        near = "" if start is None else self.source[start : self.position]
        return Mistake(message, near.strip()[:80])

    def grown(self, text: str) -> str:
        self.length += len(text)
        if self.length > LIMIT:
            raise Mistake(f"a word grows to more than {LIMIT} characters", kind=DockerfileTooLarge)
        return text

    # ------------------------------------------------------------------ parts

    def until(self, stop: str, keep_escapes: bool) -> tuple[str, list[str]]:
        """Up to ``stop``, which is taken too; an empty one means the end."""
        start, words = self.position, _Words()
        text: list[str] = []
        while each := self.peek():
            if each == stop:
                self.position += 1
                return "".join(text), words.finish()
            if each == "$":
                value = self.grown(self.dollar(keep_escapes))
                words.loose(value)
                text.append(value)
            elif each in "'\"" and not self.lexicon.ignore_quotes:
                value = self.single() if each == "'" else self.double(keep_escapes)
                words.firm(value)
                text.append(value)
            else:
                self.plain(text, words, keep_escapes)
        if stop:
            raise self.wrong(f"a {stop!r} is missing", start)
        return "".join(text), words.finish()

    def plain(self, text: list[str], words: _Words, keep_escapes: bool) -> None:
        plain = _PLAIN.match(self.source, self.position)
        each = plain[0] if plain else self.peek()
        self.position += len(each)
        if each != self.lexicon.escape:
            words.loose(each)
            text.append(each)
            return
        escaped = self.next()
        if keep_escapes:
            words.firm(each)
            text.append(each)
        if escaped:
            words.firm(escaped)
            text.append(escaped)

    def single(self) -> str:
        start = self.position
        end = self.source.find("'", start + 1)
        if end < 0:
            self.position = len(self.source)
            raise self.wrong("a quote (') is opened and never closed", start)
        self.position = end + 1
        return self.source[start : end + 1] if self.lexicon.keep_quotes else self.source[start + 1 : end]

    def double(self, keep_escapes: bool) -> str:
        start = self.position
        quote = self.next()
        text = [quote] if self.lexicon.keep_quotes else []
        while each := self.peek():
            if each == '"':
                self.position += 1
                if self.lexicon.keep_quotes:
                    text.append(each)
                return "".join(text)
            text.append(self.grown(self.dollar(keep_escapes)) if each == "$" else self.quoted(keep_escapes))
        raise self.wrong('a quote (") is opened and never closed', start)

    def quoted(self, keep_escapes: bool) -> str:
        """A letter within double quotes, where only ``"``, ``$`` and the escape itself are escaped."""
        plain = _PLAIN.match(self.source, self.position)
        each = plain[0] if plain else self.peek()
        self.position += len(each)
        if each != self.lexicon.escape:
            return each
        kept = each if keep_escapes else ""
        following = self.peek()
        if following == "":
            return kept
        return kept + (self.next() if following in ('"', "$", self.lexicon.escape) else each)

    def name(self) -> str:
        """Of a variable; digits, or one of the shell's special parameters, are names too."""
        start = self.position
        if self.peek().isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif self.peek() in _PARAMETERS:
            self.position += 1
        else:
            while (each := self.peek()) and (each.isalpha() or each.isdecimal() or each == "_"):
                self.position += 1
        return self.source[start : self.position]

    def value(self, name: str) -> str | None:
        found = self.env.get(name)
        (self.missing if found is None else self.used).add(name)
        return found

    # ------------------------------------------------------------------ substitutions

    def dollar(self, keep_escapes: bool) -> str:
        start = self.position
        self.position += 1
        if self.peek() == "{":
            return self.braces(start)
        name = self.name()
        if not name:
            return "$"
        value = self.value(name)
        if value is None:
            return f"${name}" if self.lexicon.keep_unknown else ""
        return value

    def braces(self, start: int) -> str:
        self.position += 1
        if self.depth >= _DEPTH:
            raise self.wrong(f"more than {_DEPTH} substitutions lie within one another", start)
        if self.peek() in ("{", "}", ":"):
            self.position += 1
            raise self.wrong("a substitution needs a variable's name: ${NAME}", start)
        self.depth += 1
        try:
            return self.modified(start, self.name())
        finally:
            self.depth -= 1

    def modified(self, start: int, name: str) -> str:
        modifier = self.next()
        if modifier == "}":
            value = self.value(name)
            return (f"${{{name}}}" if self.lexicon.keep_unknown else "") if value is None else value
        if modifier == "/":
            return self.replaced(start, name)
        colon = modifier == ":"
        if colon:
            modifier = self.next()
        if not modifier:
            raise self.wrong("a '}' is missing", start)
        if modifier not in ("+-?" if colon else "+-?#%"):
            shown = f"{':' if colon else ''}{modifier}"
            raise self.wrong(f"there is no substitution ${{{name}{shown}…}}", start)
        word, _ = self.until("}", modifier in "#%")
        value = self.value(name)
        if value is None and self.lexicon.keep_unknown:
            return f"${{{name}{':' if colon else ''}{modifier}{word}}}"
        if modifier in "#%":
            return _trimmed(value or "", modifier, word)
        return self.chosen(start, name, value, modifier, colon, word)

    def chosen(self, start: int, name: str, value: str | None, modifier: str, colon: bool, word: str) -> str:
        unset = value is None or (colon and value == "")
        if modifier == "-":
            return word if unset or value is None else value
        if modifier == "+":
            return "" if unset else word
        if unset or value is None:
            why = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
            raise self.wrong(f"{name}: {why}", start)
        return value

    def replaced(self, start: int, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.position += 1
        pattern, _ = self.until("/", True)
        replacement, _ = self.until("}", True)
        value = self.value(name)
        if value is None and self.lexicon.keep_unknown:
            return f"${{{name}{'//' if every else '/'}{pattern}/{replacement}}}"
        return Pattern.parse(pattern).replace(value or "", replacement, every=every)


def _trimmed(value: str, modifier: str, word: str) -> str:
    longest = word.startswith(modifier)
    pattern = Pattern.parse(word[1:] if longest else word)
    if modifier == "#":
        return pattern.without_prefix(value, longest=longest)
    return pattern.without_suffix(value, longest=longest)
