"""Names in the registry: ``<team>/<project>/<repository>`` and tags; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.errors import UserError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MAX_PATH = 200
"""Clients want host, slash and path within 255."""


class InvalidRepositoryName(UserError):
    code = "NAME_INVALID"


class InvalidTag(UserError):
    code = "TAG_INVALID"


@dataclass(frozen=True)
class RepositoryPath:
    team: str
    project: str
    name: str
    """Below the project; it may have slashes."""

    @classmethod
    def parse(cls, text: str) -> RepositoryPath:
        """Raise ``InvalidRepositoryName``."""
        if len(text) > MAX_PATH or not _PATH.fullmatch(text):
            raise InvalidRepositoryName(
                f"{text[:80]!r} is no repository: <team>/<project>/<name> in lower-case letters and digits, "
                f"joined by '.', '_', '__' or '-', of at most {MAX_PATH} characters."
            )
        team, _, rest = text.partition("/")
        project, _, name = rest.partition("/")
        if not name:
            raise InvalidRepositoryName(
                f"{text[:80]!r} lacks a part: repositories here are named <team>/<project>/<name>."
            )
        return cls(team, project, name)

    def __str__(self) -> str:
        return f"{self.team}/{self.project}/{self.name}"


def parse_tag(text: str) -> str:
    """Raise ``InvalidTag``."""
    if not _TAG.fullmatch(text):
        raise InvalidTag(f"{text[:140]!r} is no tag: 1 to 128 letters, digits, '_', '.', '-' are allowed.")
    return text


def sort_key(tag: str) -> bytes:
    """Tags are listed without regard to case, whatever the database thinks of letters."""
    return tag.lower().encode() + b"\0" + tag.encode()
