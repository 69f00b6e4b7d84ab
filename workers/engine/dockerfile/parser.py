"""Logical lines -> nodes: keyword, flags, arguments. Pure; knows forms, not meanings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.expansion import SPACES
from workers.engine.dockerfile.lexer import Heredoc, Lexer, LogicalLine, heredocs_of
from workers.engine.dockerfile.locations import Location
from workers.engine.dockerfile.words import split_flags, split_words
from workers.errors import DockerfileTooLarge, InvalidDockerfile

MAX_INSTRUCTIONS = 4000

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_TAKES_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})


@dataclass(frozen=True)
class Node:
    keyword: str
    """As written."""
    flags: tuple[str, ...]
    """``--name=value``, unquoted."""
    arguments: tuple[str, ...]
    """Of ENV and LABEL three each: name, value, and ``=``, or nothing in the old form."""
    json: bool
    """The arguments were written as a JSON list."""
    line: str
    """The whole logical line."""
    location: Location
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    child: Node | None = None
    """ONBUILD's instruction."""
    empty_continuation: bool = False

    @property
    def name(self) -> str:
        return self.keyword.upper()


@dataclass(frozen=True)
class Tree:
    filename: str
    nodes: tuple[Node, ...]
    escape: str
    directives: dict[str, str]


def parse_tree(text: str, filename: str) -> Tree:
    """Raise ``InvalidDockerfile``."""
    lexer = Lexer(text, filename)
    nodes: list[Node] = []
    while (line := lexer.read()) is not None:
        if len(nodes) == MAX_INSTRUCTIONS:
            message = f"there are more than {MAX_INSTRUCTIONS} instructions"
            raise Mistake(message, kind=DockerfileTooLarge).at(
                lexer.location(line.first_line, line.last_line)
            )
        nodes.append(_node(lexer, line))
    if not nodes:
        raise InvalidDockerfile(f"{filename}: the file has no instructions", file=filename, line=1)
    return Tree(filename, tuple(nodes), lexer.escape, dict(lexer.directives))


def parse_line(text: str, escape: str, location: Location) -> Node:
    """One instruction standing elsewhere, as a trigger of an image. Raise ``InvalidDockerfile``."""
    lexer = Lexer(text, location.file)
    lexer.escape = escape
    line = lexer.read()
    try:
        if line is None:
            raise Mistake("an ONBUILD trigger is empty")
        node = _node(lexer, line, location)
        if lexer.read() is not None:
            raise Mistake(f"the ONBUILD trigger {text[:80]!r} is more than one instruction")
    except Mistake as mistake:
        raise mistake.at(location) from None
    return node


def _node(lexer: Lexer, line: LogicalLine, location: Location | None = None) -> Node:
    here = location or lexer.location(line.first_line, line.last_line)
    try:
        node = parse_words(line.text, lexer.escape, here)
        heredocs = heredocs_of(line.text) if _may_hold_heredocs(node) else ()
    except Mistake as mistake:
        raise mistake.at(here) from None
    taken = tuple(lexer.heredoc(each, line.first_line) for each in heredocs)
    last = lexer.last.last_line if taken else line.last_line
    return Node(
        node.keyword,
        node.flags,
        node.arguments,
        node.json,
        line.text,
        location or lexer.location(line.first_line, last),
        line.comments,
        taken,
        node.child,
        line.empty_continuation,
    )


def parse_words(line: str, escape: str, location: Location) -> Node:
    """An instruction without its heredocs. Raise ``Mistake``."""
    keyword, *rest = _BLANKS.split(line.strip(SPACES), maxsplit=1)
    flags, arguments = split_flags(rest[0]) if rest else ((), "")
    form = FORMS.get(keyword.upper())
    if form is None:
        return Node(keyword, flags, ("",), False, line, location)
    if keyword.upper() == "ONBUILD":
        child = parse_words(arguments, escape, location) if arguments and _depth_left(line) else None
        return Node(keyword, flags, (), False, line, location, child=child)
    words, is_json = form(arguments, escape)
    return Node(keyword, flags, words, is_json, line, location)


def unknown(keyword: str) -> Mistake:
    return Mistake(
        f"there is no instruction {keyword[:40]}",
        keyword,
        suggestion=nearest(keyword, FORMS) if keyword else "",
    )


def _depth_left(line: str) -> bool:
    """ONBUILD ONBUILD is refused later; a file of nothing but ONBUILDs must not take the stack."""
    return not re.match(r"\s*(?:onbuild\s+){3}", line, re.IGNORECASE)


def _may_hold_heredocs(node: Node) -> bool:
    inner = node.child if node.name == "ONBUILD" and node.child else node
    return inner.name in _TAKES_HEREDOCS and not inner.json


# --------------------------------------------------------------------------- forms of arguments

Words = tuple[tuple[str, ...], bool]


def _list(arguments: str) -> tuple[str, ...] | None:
    """A JSON list of texts, or None: what is no JSON is taken as it stands. Raise ``Mistake``."""
    if not arguments.startswith("["):
        return None
    try:
        value = json.loads(arguments, parse_constant=_no_json, parse_int=lambda _: 0)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    for each in value:
        if not isinstance(each, str):
            raise Mistake("a list in JSON form may hold texts only", "[")
    return tuple(each.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for each in value)


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _command(arguments: str, escape: str) -> Words:
    """JSON, or one line for the shell."""
    words = _list(arguments)
    return (words, True) if words is not None else _line(arguments, escape)


def _paths(arguments: str, escape: str) -> Words:
    words = _list(arguments)
    return (words, True) if words is not None else _blanks(arguments, escape)


def _blanks(arguments: str, _escape: str) -> Words:
    return (tuple(_BLANKS.split(arguments)) if arguments else ()), False


def _line(arguments: str, _escape: str) -> Words:
    return ((arguments,) if arguments else ()), False


def _names(arguments: str, escape: str) -> Words:
    return split_words(arguments, escape), False


def _pairs(arguments: str, escape: str) -> Words:
    words = split_words(arguments, escape)
    if not words:
        return (), False
    if "=" not in words[0]:  # the old form: one name, the rest is its value
        parts = _BLANKS.split(arguments, maxsplit=1)
        if len(parts) < 2:
            raise Mistake(f"{parts[0][:60]!r} has no value; NAME=value was expected", parts[0])
        return (parts[0], parts[1], ""), False
    triples: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Mistake(
                f"{word[:60]!r} is not NAME=value; a value with blanks needs quotes", word.strip("'\"")
            )
        triples += [name, value, "="]
    return tuple(triples), False


def _health(arguments: str, escape: str) -> Words:
    if not arguments:
        return (), False
    kind, *rest = arguments.split(maxsplit=1)
    words, is_json = _command(rest[0] if rest else "", escape)
    return (kind, *words), is_json


FORMS: dict[str, Callable[[str, str], Words]] = {
    "ADD": _paths,
    "ARG": _names,
    "CMD": _command,
    "COPY": _paths,
    "ENTRYPOINT": _command,
    "ENV": _pairs,
    "EXPOSE": _blanks,
    "FROM": _blanks,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _line,
    "ONBUILD": _line,
    "RUN": _command,
    "SHELL": _command,
    "STOPSIGNAL": _line,
    "USER": _line,
    "VOLUME": _paths,
    "WORKDIR": _line,
}
