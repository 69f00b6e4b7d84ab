"""``--chmod``: octal or symbolic, as in chmod(1). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.errors import BuildFailed

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_COPIED = {"u": 6, "g": 3, "o": 0}
"""How far to the left a class's three bits lie."""
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_ALL = 0o7777


@dataclass(frozen=True)
class Mode:
    octal: int | None
    clauses: tuple[tuple[str, str, str], ...] = ()
    """Who, operator, permissions: letters, or the class whose permissions are meant."""

    def apply(self, mode: int, *, directory: bool) -> int:
        """The mode of a file or directory that has ``mode``."""
        if self.octal is not None:
            return self.octal
        for who, operator, permissions in self.clauses:
            mask = _mask(who)
            wanted = _permissions(permissions, mode, directory) & mask
            if operator == "+":
                mode |= wanted
            elif operator == "-":
                mode &= ~wanted
            else:
                mode = mode & ~(mask & ~(0o6000 if directory else 0)) | wanted
        return mode


def parse(text: str) -> Mode:
    """Raise ``BuildFailed``."""
    if re.fullmatch(r"[0-7]{1,5}", text) and int(text, 8) <= _ALL:
        return Mode(int(text, 8))
    clauses: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise BuildFailed(f"invalid chmod parameter: {text!r}: octal (0755) or symbolic (u=rwX,go=rX)")
        clauses += [(match[1] or "a", *action) for action in _ACTION.findall(match[2])]
    return Mode(None, tuple(clauses))


def _mask(who: str) -> int:
    if "a" in who:
        return _ALL
    mask = 0
    for each in who:
        mask |= _WHO[each]
    return mask


def _permissions(letters: str, mode: int, directory: bool) -> int:
    if letters in _COPIED:
        return (mode >> _COPIED[letters] & 0o7) * 0o111
    bits = 0
    for letter in letters:
        if letter == "X":
            bits |= 0o111 if directory or mode & 0o111 else 0
        elif letter == "s":
            bits |= 0o6000
        elif letter == "t":
            bits |= 0o1000
        else:
            bits |= _BITS[letter]
    return bits
