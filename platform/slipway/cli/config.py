"""The servers one has signed in to: ``~/.config/slipway/config.toml``, for its owner's eyes only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway.cli.errors import CliError, Misused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Context:
    """One server, and who one is there."""

    url: str
    token: str = field(repr=False)
    project: str = ""
    """``team/project`` where none is named; may be empty."""


@dataclass(frozen=True)
class Config:
    contexts: Mapping[str, Context] = field(default_factory=dict)
    current: str = ""

    def with_context(self, name: str, context: Context) -> Config:
        """The same with ``context``, which becomes the current one."""
        return Config({**self.contexts, check_name(name): context}, name)

    def without(self, name: str) -> Config:
        left = {each: context for each, context in self.contexts.items() if each != name}
        current = self.current if self.current in left else next(iter(left), "")
        return Config(left, current)

    def using(self, name: str) -> Config:
        """Raise ``Misused`` for a name that is none."""
        self.get(name)
        return replace(self, current=name)

    def get(self, name: str) -> Context:
        if name not in self.contexts:
            known = ", ".join(self.contexts) or "none"
            raise Misused(f"There is no context {name!r}; known: {known}.", "`slipway login URL` makes one.")
        return self.contexts[name]


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misused(f"Context {name[:70]!r}: letters, digits, '.', '_' and '-' are allowed, 64 at most.")
    return name


def check_project(path: str) -> str:
    if not _PROJECT.fullmatch(path):
        raise Misused(f"Project {path[:80]!r}: a project is written team/project.")
    return path


def location(environ: Mapping[str, str]) -> Path:
    if explicit := environ.get("SLIPWAY_CONFIG"):
        return Path(explicit)
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(base) / "slipway" / "config.toml"


def read(path: Path) -> Config:
    """An empty one where there is no file. Raise ``CliError`` for a file that cannot be read."""
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as error:
        raise CliError(
            f"{path} cannot be read: {error}.",
            code="CONFIG_INVALID",
            hint="Mend it, or delete it and sign in.",
        ) from error
    try:
        contexts = {
            name: Context(str(row["url"]), str(row["token"]), str(row.get("project", "")))
            for name, row in document.get("contexts", {}).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"{path}: every context needs url and token.",
            code="CONFIG_INVALID",
            hint="Mend it, or delete it and sign in.",
        ) from error
    return Config(contexts, str(document.get("current", "")))


def write(path: Path, config: Config) -> None:
    """Replace the file in one step; nobody but its owner can read it at any moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(render(config))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def render(config: Config) -> str:
    lines = [
        "# Written by `slipway login`. The tokens in here are secrets.",
        f"current = {_text(config.current)}",
    ]
    for name, context in config.contexts.items():
        lines += [
            "",
            f"[contexts.{_text(name)}]",
            f"url = {_text(context.url)}",
            f"token = {_text(context.token)}",
        ]
        if context.project:
            lines.append(f"project = {_text(context.project)}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A basic string of TOML. All our values are printable ASCII, which needs no more than this."""
    if value and not _PRINTABLE.fullmatch(value):
        raise Misused(f"{value[:60]!r} holds a blank or a character that neither an address nor a token has.")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_private(path: Path) -> bool:
    """Whether nobody but the file's owner may read it."""
    return path.stat().st_mode & 0o077 == 0
