"""A stage while it is evaluated, instruction by instruction. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from workers.engine.build.budget import Budget
from workers.engine.build.defaults import DEFAULT_PATH, RunDefaults
from workers.engine.build.graph import HISTORY_COMMENT, PlanRequest
from workers.engine.build.scopes import Scope
from workers.engine.build.stages import Stages
from workers.engine.build.steps import Step
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.expansion import Expanded, Lexicon
from workers.engine.dockerfile.ignore import Ignore
from workers.engine.dockerfile.locations import Location
from workers.engine.dockerfile.rules import Report
from workers.oci.config import HistoryEntry

_LONGEST_NAME = 1000
_MOST_NAMED = 20
"""Undefined variables of one word that are reported."""


@dataclass
class StageState:
    """What holds before the next instruction."""

    # the same for all stages
    request: PlanRequest
    stages: Stages
    scope: Scope
    lexicon: Lexicon
    report: Report
    budget: Budget
    ignore: Ignore | None

    # of this stage
    index: int
    name: str
    """As displayed."""
    total: int
    """Steps that are displayed with a number."""
    no_cache: bool
    platform: str
    base_known: bool = True
    """False: the base's config was not looked at, so a variable may be the base's."""
    defaults: RunDefaults = field(default_factory=RunDefaults)
    env: dict[str, str] = field(default_factory=dict)
    """The config's variables and the build arguments, as expansion sees them."""
    lines: dict[str, str] = field(default_factory=dict)
    """The same as ``NAME=value``: each text exists once, however many steps have it."""
    arguments: dict[str, str] = field(default_factory=dict)
    """Build arguments declared so far, with their values."""
    history: list[HistoryEntry] = field(default_factory=list)
    author: str = ""
    workdir_set: bool = False
    cmd_set: bool = False
    number: int = 0
    on_build: bool = False
    """The instruction at hand is a trigger of the base."""

    def begin(self, defaults: RunDefaults, history: tuple[HistoryEntry, ...] = (), author: str = "") -> None:
        """Take over what an image says; there is always a PATH."""
        for each in defaults.env:
            name, _, value = each.partition("=")
            self.set(name, value)
        if "PATH" not in self.env:
            self.set("PATH", DEFAULT_PATH)
        self.defaults = replace(defaults, env=tuple(self.lines.values()))
        self.history = list(history)
        self.author = author

    def set(self, name: str, value: str) -> str:
        """A variable or a build argument. As ``NAME=value``."""
        self.env[name] = value
        self.lines[name] = self.budget.spend(f"{name}={value}")
        return self.lines[name]

    def inherit(self, base: StageState) -> None:
        """Stand on another stage: its variables, build arguments and history go on here."""
        self.defaults = replace(base.defaults, on_build=())
        self.env = dict(base.env)
        self.lines = dict(base.lines)
        self.arguments = dict(base.arguments)
        self.history = list(base.history)
        self.author = base.author
        self.platform = base.platform
        self.workdir_set = base.workdir_set
        self.base_known = base.base_known
        self.budget.count(len(self.history) + len(self.env))

    # ------------------------------------------------------------------ words

    def expand(self, text: str, instruction: typed.Instruction, lexicon: Lexicon | None = None) -> str:
        """Raise ``Mistake``."""
        return self.expanded(text, instruction, lexicon).text

    def expanded(self, text: str, instruction: typed.Instruction, lexicon: Lexicon | None = None) -> Expanded:
        found = (lexicon or self.lexicon).expand(text, self.env)
        self.budget.spend(found.text)
        for name in sorted(found.missing - self.arguments.keys())[:_MOST_NAMED]:
            guess = self.report.guess(name, self.env)
            if self.base_known or guess:
                hint = f" (did you mean ${guess}?)" if guess else ""
                self.report.add(
                    "UndefinedVar", instruction.location, name, comments=instruction.comments, hint=hint
                )
        return found

    # ------------------------------------------------------------------ steps

    def change(self, **changes: object) -> None:
        self.defaults = replace(self.defaults, **changes)  # type: ignore[arg-type]  # names are ours

    def step(self, instruction: typed.Instruction, created_by: str) -> Step:
        """A step that changes the config only, which ``change`` has done before."""
        self.record(created_by, empty_layer=True)
        return Step(*self.common(instruction, instruction.source, created_by, empty_layer=True))

    def record(self, created_by: str, *, empty_layer: bool) -> None:
        self.budget.spend(created_by)
        self.history.append(
            HistoryEntry(created_by=created_by, comment=HISTORY_COMMENT, empty_layer=empty_layer)
        )

    def common(
        self, instruction: typed.Instruction, name: str, created_by: str, *, empty_layer: bool
    ) -> tuple[Location, str, str, str, bool, RunDefaults, bool, bool]:
        """The fields that every kind of step begins with."""
        return (
            instruction.location,
            instruction.name,
            shorten(name),
            created_by,
            empty_layer,
            self.defaults,
            self.on_build,
            self.no_cache,
        )

    def numbered(self, text: str) -> str:
        """``[web 3/7] RUN make``."""
        self.number += 1
        width = int(1 + math.log10(self.total))
        stage = f"{self.name} " if self.name else ""
        trigger = "ONBUILD " if self.on_build else ""
        return f"[{stage}{self.number:{width}}/{self.total}] {trigger}{shorten(text)}"

    def displayed(self, text: str, lexicon: Lexicon) -> str:
        """The instruction with its variables put in, for people; as it is if that cannot be."""
        if len(text) > _LONGEST_NAME:
            return _upper(text)
        try:
            return _upper(lexicon.expand(text, self.env).text)
        except ValueError:
            return _upper(text)


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "…"


def _upper(text: str) -> str:
    keyword, blank, rest = text.partition(" ")
    return keyword.upper() + blank + rest


def with_variables(env: tuple[str, ...], lines: Mapping[str, str]) -> tuple[str, ...]:
    """``env`` with the variables of ``lines`` (by name): each once, at its first place."""
    left = dict(lines)
    merged = [left.pop(each[: each.index("=")], each) for each in env]
    return (*merged, *left.values())
