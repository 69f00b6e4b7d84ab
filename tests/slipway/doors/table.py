"""doors.txt, read; and every route there is, as the URL resolver knows them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from django.urls import get_resolver, reverse
from django.urls.resolvers import URLPattern

FILE = Path(__file__).with_name("doors.txt")
COLUMNS = ("owner", "viewer", "stranger", "robot", "anonymous")
ROLES = (*COLUMNS, "administrator")


ADMINISTRATOR = "admin="
"""Before what an administrator is answered, where that is not what the owner is."""


@dataclass(frozen=True)
class Door:
    """A line of the table."""

    name: str
    method: str
    answers: Mapping[str, str]
    """Role to status; of topics: ``ok``, an error's code, or the code the socket is closed with."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    body: str = ""

    def __str__(self) -> str:
        return " ".join([self.method, self.name, *self.arguments.values()])

    @property
    def is_rest(self) -> bool:
        return self.name.startswith("api:")

    @property
    def parameters(self) -> frozenset[str]:
        return next(route.parameters for route in routes() if route.name == self.name)

    def address(self, given: Mapping[str, str]) -> str:
        """Where it is, with ``given`` (as ``World.known``) in the place of arguments."""
        own = {name: Template(value).substitute(given) for name, value in self.arguments.items()}
        values = {**given, **own}
        chosen = {name: values[name] for name in self.parameters}
        query = Template(self.query).substitute({name: quote(value) for name, value in given.items()})
        return reverse(self.name, kwargs=chosen) + query

    def content(self, given: Mapping[str, str]) -> Any:
        return json.loads(Template(self.body).substitute(given)) if self.body else {}


@dataclass(frozen=True)
class Route:
    name: str
    parameters: frozenset[str]
    room: str
    """The module of its view."""


def read_doors() -> list[Door]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [_parse(line) for line in lines if line.strip() and not line.startswith("#")]


def _parse(line: str) -> Door:
    head, brace, tail = line.partition("{")
    name, method, *rest = head.split()
    answers, options = rest[: len(COLUMNS)], rest[len(COLUMNS) :]
    if len(answers) != len(COLUMNS):
        raise ValueError(f"doors.txt: an answer for each of {', '.join(COLUMNS)} is needed: {line!r}")
    others = [option for option in options if option.startswith(ADMINISTRATOR)]
    options = [option for option in options if option not in others]
    answers.append(others[0].removeprefix(ADMINISTRATOR) if others else answers[0])
    arguments = dict(option.split("=", 1) for option in options if not option.startswith("?"))
    query = next((option for option in options if option.startswith("?")), "")
    return Door(name, method, dict(zip(ROLES, answers, strict=True)), arguments, query, brace + tail)


@cache
def routes() -> list[Route]:
    return list(_routes(get_resolver(), ""))


def _routes(resolver: Any, namespace: str) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            parameters = frozenset(pattern.pattern.regex.groupindex)
            yield Route(f"{namespace}{pattern.name or ''}", parameters, pattern.callback.__module__)
        else:
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            for route in _routes(pattern, inner):
                outer = frozenset(pattern.pattern.regex.groupindex)
                yield Route(route.name, route.parameters | outer, route.room)
