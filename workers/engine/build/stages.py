"""Which stage stands on what and copies from what. Pure; no image is known yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from workers.engine.build.graph import NamedContext, PlanRequest
from workers.engine.build.platforms import Platform
from workers.engine.build.scopes import Scope
from workers.engine.build.steps import ContextRoot, ImageRoot, Root, ScratchRoot, StageRoot
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.expansion import Expanded, Lexicon
from workers.engine.dockerfile.locations import Location
from workers.engine.dockerfile.mounts import mount_source
from workers.engine.dockerfile.rules import Report
from workers.errors import InvalidReference, NoSuchStage, StageCycle
from workers.oci.reference import Reference

SCRATCH = "scratch"
_MOST_GUESSED = 5
_IMAGES = ("alpine", "busybox", "debian", "fedora", "golang", "node", "python", "ruby", "ubuntu")


@dataclass(frozen=True)
class Foundation:
    """A stage with its base."""

    stage: typed.Stage
    base: Root
    platform: str
    replaced: bool = False
    """A named context of the stage's name stands for all of it."""


def root_of_stage(found: Foundation) -> Root:
    """What others read of it."""
    return found.base if found.replaced else StageRoot(found.stage.index)


@dataclass(frozen=True)
class Stages:
    """All stages of a file, in order, and how names lead to them."""

    found: tuple[Foundation, ...]
    contexts: Mapping[str, NamedContext]
    platform: str
    _indices: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.found:
            if each.stage.name:
                self._indices.setdefault(each.stage.name, []).append(each.stage.index)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.stage.name for each in self.found if each.stage.name)

    def index_of(self, name: str, before: int) -> int | None:
        """The nearest stage of the name above ``before``, else one below. Raise ``Mistake`` for a number
        that is no stage's."""
        if name.isascii() and name.isdecimal():
            if int(name[:9]) >= len(self.found):
                last = len(self.found) - 1
                message = f"there is no stage {name[:20]}; they are numbered from 0 to {last}"
                raise Mistake(message, name, kind=NoSuchStage)
            return int(name)
        same = self._indices.get(name.lower(), [])
        above = [index for index in same if index < before]
        return above[-1] if above else (same[0] if same else None)

    def root_of(self, name: str, stage: int) -> Root:
        """What ``--from=name`` in a stage means. Raise ``Mistake``."""
        index = self.index_of(name, stage)
        if index is not None:
            if index >= stage:
                raise _later(self.found, name, stage, index)
            return root_of_stage(self.found[index])
        if name.lower() == SCRATCH:
            return ScratchRoot()
        named = context_of(name, self.contexts)
        if named is not None:
            return _named_root(named, self.platform)
        check_reference(name, self.names)
        return ImageRoot(name, self.platform)


def lay_out(dockerfile: typed.Dockerfile, request: PlanRequest, scope: Scope, report: Report) -> Stages:
    """Raise ``InvalidDockerfile``, ``NoSuchStage``, ``StageCycle``."""
    contexts = {
        _familiar(name): context if context.kind == "image" else replace(context, reference=name)
        for name, context in request.contexts.items()
    }
    platform = scope.values["TARGETPLATFORM"]
    above: dict[str, Foundation] = {}
    found = []
    for stage in dockerfile.stages:
        try:
            each = _found(stage, Above(above, contexts, platform), dockerfile.escape, scope, report)
        except Mistake as mistake:
            raise mistake.at(stage.start.location) from None
        found.append(each)
        if stage.name:
            above[stage.name] = each
    stages = Stages(tuple(found), contexts, platform)
    _check_order(stages)
    return stages


@dataclass(frozen=True)
class Above:
    """What a FROM may name."""

    stages: Mapping[str, Foundation]
    contexts: Mapping[str, NamedContext]
    platform: str


def _found(stage: typed.Stage, above: Above, escape: str, scope: Scope, report: Report) -> Foundation:
    start = stage.start
    lexicon = Lexicon(escape)
    name = lexicon.expand(start.image, scope.values)
    _undeclared(name, start, scope, report)
    if not name.text:
        raise Mistake(
            f"the image {start.image[:60]!r} is empty when its variables are put in",
            start.image,
            suggestion=_declared_near(name, scope),
        )
    platform = _platform(start, lexicon, scope, report) or above.platform
    if stage.name and (named := context_of(stage.name, above.contexts)) is not None:
        return Foundation(stage, _named_root(named, platform), platform, replaced=True)
    base = above.stages.get(name.text.lower())
    if base is not None:
        return Foundation(stage, root_of_stage(base), base.platform)
    if name.text.lower() == SCRATCH:
        return Foundation(stage, ScratchRoot(), platform)
    named = context_of(name.text, above.contexts)
    if named is not None:
        return Foundation(stage, _named_root(named, platform), platform)
    check_reference(name.text, tuple(above.stages))
    return Foundation(stage, ImageRoot(name.text, platform), platform)


def _platform(start: typed.From, lexicon: Lexicon, scope: Scope, report: Report) -> str:
    if not start.platform:
        return ""
    found = lexicon.expand(start.platform, scope.values)
    _undeclared(found, start, scope, report)
    try:
        platform = str(Platform.parse(found.text, host=scope.values["BUILDPLATFORM"]))
    except Mistake as mistake:
        near = start.platform
        raise Mistake(mistake.message, near, suggestion=_declared_near(found, scope)) from None
    target = scope.values["TARGETPLATFORM"]
    if found.used == {"TARGETPLATFORM"} and not found.missing and found.text == target:
        report.add("RedundantTargetPlatform", start.location, start.platform, comments=start.comments)
    if not found.used and not found.missing:
        os, architecture, *_ = platform.split("/")
        if os not in start.alias.lower() and architecture not in start.alias.lower():
            report.add("FromPlatformFlagConstDisallowed", start.location, found.text, comments=start.comments)
    return platform


def _undeclared(found: Expanded, start: typed.From, scope: Scope, report: Report) -> None:
    for name in sorted(found.missing - scope.known):
        guess = report.guess(name, sorted(scope.known))
        hint = f" (did you mean {guess}?)" if guess else ""
        report.add("UndefinedArgInFrom", start.location, name, comments=start.comments, hint=hint)


def _declared_near(found: Expanded, scope: Scope) -> str:
    missing = sorted(found.missing)[:_MOST_GUESSED]
    return next((near for name in missing if (near := nearest(name, sorted(scope.known)))), "")


# --------------------------------------------------------------------------- names


def context_of(name: str, contexts: Mapping[str, NamedContext]) -> NamedContext | None:
    if name.lower() in (SCRATCH, "context"):
        return None
    return contexts.get(_familiar(name))


def _familiar(name: str) -> str:
    """``docker.io/library/alpine:latest`` and ``alpine`` are one name."""
    try:
        return Reference.parse(name).familiar.removesuffix(":latest")
    except InvalidReference:
        return name.lower()


def _named_root(named: NamedContext, platform: str) -> Root:
    if named.kind == "image":
        return ImageRoot(named.reference, platform)
    return ContextRoot(named.reference)


def check_reference(name: str, stages: tuple[str, ...]) -> None:
    """Raise ``Mistake`` if it can be no image's name."""
    try:
        Reference.parse(name)
    except InvalidReference as error:
        message = error.message[:1].lower() + error.message[1:]
        raise Mistake(message, name, suggestion=nearest(name, (*stages, *_IMAGES))) from None


# --------------------------------------------------------------------------- order


def sources_of(instruction: typed.Instruction) -> tuple[str, ...]:
    """The names of stages, images and contexts it reads from."""
    if isinstance(instruction, typed.Copy):
        return (instruction.source_of,) if instruction.source_of else ()
    if isinstance(instruction, typed.Run):
        return tuple(name for mount in instruction.mounts if (name := mount_source(mount)))
    return ()


def _check_order(stages: Stages) -> None:
    """A stage may only read from those above it. Raise ``StageCycle`` or ``NoSuchStage``."""
    needs: dict[int, dict[int, Location]] = {each.stage.index: {} for each in stages.found}
    for each in stages.found:
        own = needs[each.stage.index]
        if isinstance(each.base, StageRoot):
            own[each.base.stage] = each.stage.start.location
        for instruction in each.stage.instructions:
            for name in sources_of(instruction):
                try:
                    index = stages.index_of(name, each.stage.index)
                except Mistake as mistake:
                    raise mistake.at(instruction.location) from None
                if index is not None:
                    own.setdefault(index, instruction.location)
    for index, own in needs.items():
        for other, location in own.items():
            if other >= index:
                raise _cycle_or_later(stages, needs, index, other).at(location)


def _cycle_or_later(
    stages: Stages, needs: Mapping[int, Mapping[int, Location]], index: int, other: int
) -> Mistake:
    path = _path(needs, other, index)
    name = _shown(stages.found, other)
    if path is None:
        return _later(stages.found, name, index, other)
    around = " → ".join(_shown(stages.found, each) for each in (index, *path))
    return Mistake(f"stages need one another: {around}", name, kind=StageCycle)


def _path(needs: Mapping[int, Mapping[int, Location]], start: int, end: int) -> list[int] | None:
    """From ``start`` to ``end`` along what stages need."""
    came: dict[int, int] = {start: start}
    waiting = [start]
    while waiting:
        each = waiting.pop()
        if each == end:
            path = [each]
            while path[-1] != start:
                path.append(came[path[-1]])
            return path[::-1]
        for following in needs[each]:
            if following not in came:
                came[following] = each
                waiting.append(following)
    return None


def _later(found: tuple[Foundation, ...], name: str, stage: int, index: int) -> Mistake:
    line = found[index].stage.start.location.first_line
    return Mistake(
        f"the stage {name[:60]} is defined further down, in line {line}; a stage can only read from those "
        f"above it",
        name,
        kind=NoSuchStage,
    )


def _shown(found: tuple[Foundation, ...], index: int) -> str:
    return found[index].stage.name or str(index)
