"""What is known of a project without a Dockerfile, and what is proposed. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SMALL = 256 << 10
"""Characters of a file that are worth reading."""
HEAD = "# syntax=docker/dockerfile:1"
FIRST = "# Dependencies first: this layer is reused until they change."
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what listens is alone in its container


@dataclass(frozen=True)
class Project:
    """Names of files below the context's root (``src/app.py``), and the text of those that are wanted."""

    files: frozenset[str]
    texts: Mapping[str, str] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        return any(name in self.files for name in names)

    def first(self, names: Iterable[str]) -> str | None:
        return next((name for name in names if name in self.files), None)

    def text(self, name: str) -> str:
        return self.texts.get(name, "")[:SMALL]

    def matching(self, pattern: str) -> list[str]:
        """Names that match an expression, those nearest to the root first."""
        found = (name for name in self.files if re.fullmatch(pattern, name))
        return sorted(found, key=lambda name: (name.count("/"), name))

    def json(self, name: str) -> dict[str, Any]:
        """Empty if it is none: people are proposed something all the same."""
        try:
            value = json.loads(self.text(name))
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def toml(self, name: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text(name))
        except (ValueError, RecursionError):
            return {}


@dataclass(frozen=True)
class Proposal:
    """A Dockerfile for people to look at and change; nothing is built from it unseen."""

    kind: str
    """python, node, go, ruby, php or static."""
    title: str
    """``Django with pip``."""
    reasons: tuple[str, ...]
    """What it was told from: ``manage.py``."""
    dockerfile: str
    ignore: str
    port: int | None
    """That the program will listen on; None: it is no server, or nobody can tell."""


def section(value: object, *names: str) -> Any:
    """``value[name][name]…``, or an empty dict where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return {} if value is None else value


def version(text: str, default: str, pattern: str = r"\d+\.\d+") -> str:
    """The first version in ``>=3.11,<4`` or ``python-3.11.4``."""
    found = re.search(pattern, text)
    return found[0] if found else default


def lines(*parts: str) -> str:
    """Parts with a blank line between; empty ones are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def words(*arguments: str) -> str:
    """A command in JSON form."""
    return json.dumps(list(arguments), ensure_ascii=False)
