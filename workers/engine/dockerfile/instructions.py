"""A Dockerfile as typed instructions. Nothing is expanded yet. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.engine.dockerfile.lexer import Heredoc
from workers.engine.dockerfile.locations import Location


@dataclass(frozen=True)
class Instruction:
    keyword: str
    """As written."""
    location: Location
    source: str
    """The logical line, without comments and continuation marks."""
    comments: tuple[str, ...] = ()
    """Those right above."""

    @property
    def name(self) -> str:
        return self.keyword.upper()


@dataclass(frozen=True)
class Pair:
    name: str
    value: str | None
    """None: an ARG without a default."""
    spaced: bool = False
    """Written in the old form, ``NAME value``."""


@dataclass(frozen=True)
class From(Instruction):
    image: str = ""
    alias: str = ""
    """As written after AS."""
    as_keyword: str = ""
    platform: str = ""


@dataclass(frozen=True)
class Pairs(Instruction):
    pairs: tuple[Pair, ...] = ()


class Arg(Pairs):
    pass


class Env(Pairs):
    pass


class Label(Pairs):
    pass


@dataclass(frozen=True)
class Command(Instruction):
    words: tuple[str, ...] = ()
    """The arguments, or one line for the shell."""
    shell: bool = True
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True)
class Run(Command):
    mounts: tuple[str, ...] = ()
    """As written; ``mounts.parse_mount`` reads them when variables are known."""
    network: str | None = None
    security: str | None = None
    devices: tuple[str, ...] = ()


class Cmd(Command):
    pass


class Entrypoint(Command):
    pass


@dataclass(frozen=True)
class Copy(Instruction):
    """COPY and ADD."""

    paths: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    destination: str = ""
    source_of: str = ""
    """``--from``: a stage, an image, a named context; empty for the build context."""
    chown: str = ""
    chmod: str = ""
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    link: bool = False
    parents: bool = False
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True)
class Text(Instruction):
    """An instruction with one text as its argument."""

    text: str = ""


class Maintainer(Text):
    pass


class StopSignal(Text):
    pass


class User(Text):
    pass


class Workdir(Text):
    pass


class OnBuild(Text):
    """``text`` is the instruction for later, with its heredocs."""


@dataclass(frozen=True)
class Words(Instruction):
    words: tuple[str, ...] = ()


class Expose(Words):
    pass


class Volume(Words):
    pass


class Shell(Words):
    pass


@dataclass(frozen=True)
class Health(Instruction):
    test: tuple[str, ...] = ()
    times: dict[str, int] = field(default_factory=dict)
    """``interval``, ``timeout``, ``start_period``, ``start_interval`` in nanoseconds, where given."""
    retries: int = 0


@dataclass(frozen=True)
class Stage:
    index: int
    start: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """Lower case; empty if it has none."""
        return self.start.alias.lower()


@dataclass(frozen=True)
class Dockerfile:
    filename: str
    arguments: tuple[Arg, ...]
    """Those above the first FROM."""
    stages: tuple[Stage, ...]
    escape: str
    directives: dict[str, str]
    empty_continuations: tuple[Location, ...] = ()

    @property
    def syntax(self) -> str | None:
        """The frontend the author names. It is not fetched: this parser reads all of 1.x."""
        return self.directives.get("syntax")
