"""Words within a line: the flags before the arguments, and words that keep their quotes. Pure."""

from __future__ import annotations

from workers.engine.dockerfile.expansion import SPACES

_SPACE_SET = frozenset(SPACES)


def split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """The leading ``--words``, unquoted, and the rest of the line; a bare ``--`` ends the flags."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in _SPACE_SET:
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:].strip(SPACES)
        word, position = _flag(text, position)
        if word == "--":
            return tuple(flags), text[position:].strip(SPACES)
        flags.append(word)


def _flag(text: str, position: int) -> tuple[str, int]:
    """The word at ``position``; quotes group, a backslash takes the next letter as it is."""
    word: list[str] = []
    quote = ""
    while position < len(text):
        each = text[position]
        position += 1
        if not quote and each in _SPACE_SET:
            break
        if each == quote:
            quote = ""
        elif not quote and each in "'\"":
            quote = each
        elif each == "\\":
            word.append(text[position : position + 1])
            position += 1
        else:
            word.append(each)
    return "".join(word), position


def split_words(text: str, escape: str) -> tuple[str, ...]:
    """Words between blanks outside quotes. Quotes and escapes stay: expansion takes them away."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        each = text[position]
        position += 1
        if not quote and each in _SPACE_SET:
            if word:
                words.append("".join(word))
                word = []
            continue
        if each == escape and quote != "'":
            if position == len(text):
                break  # an escape at the end means nothing
            each += text[position]
            position += 1
        elif each == quote:
            quote = ""
        elif not quote and each in "'\"":
            quote = each
        word.append(each)
    if word:
        words.append("".join(word))
    return tuple(words)
