"""Instructions -> graph. Pure but for ``resolve``, which says what an image's config is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workers.engine.build.budget import Budget
from workers.engine.build.copying import context_as_base
from workers.engine.build.defaults import RunDefaults
from workers.engine.build.evaluation import NUMBERED, evaluate
from workers.engine.build.graph import MAX_LAYERS, Graph, PlanRequest, Resolve, ResolvedImage, StagePlan
from workers.engine.build.paths import absolute
from workers.engine.build.platforms import Platform
from workers.engine.build.scopes import Scope, global_scope, source_date_epoch
from workers.engine.build.stages import (
    Foundation,
    Stages,
    check_reference,
    lay_out,
    sources_of,
)
from workers.engine.build.state import StageState
from workers.engine.build.steps import ContextRoot, ImageRoot, Root, ScratchRoot, StageRoot, Step
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.checks import check_options, check_text
from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.expansion import Lexicon
from workers.engine.dockerfile.ignore import Ignore
from workers.engine.dockerfile.locations import Finding, Location
from workers.engine.dockerfile.reading import parse_trigger
from workers.engine.dockerfile.rules import CheckOptions, Report
from workers.errors import InvalidDockerfile, InvalidManifest, NoSuchStage, SlipwayError
from workers.oci.config import parse_config
from workers.oci.descriptor import parse_document


def plan(
    dockerfile: typed.Dockerfile, request: PlanRequest, resolve: Resolve, *, ignore: Ignore | None = None
) -> Graph:
    """What building the target takes. ``ignore`` is only for the check CopyIgnoredFile.

    Raise ``InvalidDockerfile`` or one of its kinds, and whatever ``resolve`` raises.
    """
    planner = _Planner(dockerfile, request, resolve, ignore)
    target = _target(dockerfile, request)
    needed = planner.reachable(target)
    done = {index: planner.evaluate(index) for index in sorted(needed)}
    result = done[target]
    labels = result.defaults.labels | dict(request.labels)
    done[target] = replace(result, defaults=replace(result.defaults, labels=labels))
    _fail_by_checks(planner.report)
    return Graph(
        tuple(done.values()),
        target,
        tuple(_shown(stage) for stage in dockerfile.stages if stage.index not in done),
        result.platform,
        source_date_epoch(request, planner.scope),
        planner.report.ordered,
    )


def check(
    dockerfile: typed.Dockerfile,
    request: PlanRequest | None = None,
    resolve: Resolve | None = None,
    *,
    ignore: Ignore | None = None,
) -> tuple[Finding, ...]:
    """All findings in all stages. Without ``resolve`` a variable may be the base image's: then only those
    are reported as undefined that are nearly the name of one that is known. Raise ``InvalidDockerfile``."""
    planner = _Planner(dockerfile, request or PlanRequest(), resolve, ignore)
    for stage in dockerfile.stages:
        planner.prepare(stage.index)
        planner.evaluate(stage.index)
    return planner.report.ordered


def base_images(dockerfile: typed.Dockerfile, request: PlanRequest) -> tuple[ImageRoot, ...]:
    """What the needed stages stand on: to fetch it before planning. Raise ``InvalidDockerfile``."""
    planner = _Planner(dockerfile, request, None, None)
    needed = planner.reachable(_target(dockerfile, request))
    bases = (planner.stages.found[index].base for index in sorted(needed))
    return tuple(dict.fromkeys(base for base in bases if isinstance(base, ImageRoot)))


class _Planner:
    """Stages of one file; images are resolved once, triggers are read once."""

    def __init__(
        self,
        dockerfile: typed.Dockerfile,
        request: PlanRequest,
        resolve: Resolve | None,
        ignore: Ignore | None,
    ) -> None:
        self.dockerfile = dockerfile
        self.request = request
        self.resolve = resolve
        self.ignore = ignore
        options = check_options(dockerfile)
        self.report = Report(options if request.checks else CheckOptions(skip=frozenset({"all"})))
        self.budget = Budget()
        check_text(dockerfile, self.report)
        _check_defaults(dockerfile, request, self.report)
        self.scope = global_scope(dockerfile, request, self.budget)
        self.stages: Stages = lay_out(dockerfile, request, self.scope, self.report)
        self.images: dict[ImageRoot, _Image] = {}
        self.triggers: dict[int, tuple[typed.Instruction, ...]] = {}
        self.states: dict[int, StageState] = {}
        self.layers: dict[int, int] = {}
        """How many a stage has in the end."""

    # ------------------------------------------------------------------ what is needed

    def reachable(self, target: int) -> set[int]:
        """A stage only reads from those above, so one look from below finds all."""
        needed = {target}
        for index in range(target, -1, -1):
            if index in needed:
                needed |= self.prepare(index)
        return needed

    def prepare(self, index: int) -> set[int]:
        """Resolve the base and read its triggers. The stages it needs itself."""
        found = self.stages.found[index]
        needs = {found.base.stage} if isinstance(found.base, StageRoot) else set()
        if found.replaced:
            return needs
        self.triggers[index] = tuple(
            parse_trigger(text, self.dockerfile.escape, found.stage.start.location)
            for text in self._triggers(found)
        )
        for instruction in (*self.triggers[index], *found.stage.instructions):
            for name in sources_of(instruction):
                try:
                    root = self.stages.root_of(name, index)
                except Mistake as mistake:
                    raise mistake.at(instruction.location) from None
                if isinstance(root, StageRoot):
                    needs.add(root.stage)
        return needs

    def _triggers(self, found: Foundation) -> tuple[str, ...]:
        if isinstance(found.base, StageRoot):
            base = self.stages.found[found.base.stage].stage
            return tuple(each.text for each in base.instructions if isinstance(each, typed.OnBuild))
        image = self._image(found)
        return image.defaults.on_build if image else ()

    def _image(self, found: Foundation) -> _Image | None:
        if not isinstance(found.base, ImageRoot) or self.resolve is None:
            return None
        if found.base not in self.images:
            location = found.stage.start.location
            self.images[found.base] = _resolved(self.resolve, found.base, location, self.stages.names)
            self._check_platform(found, self.images[found.base])
        return self.images[found.base]

    def _check_platform(self, found: Foundation, image: _Image) -> None:
        expected = found.platform.split("/")[:2]
        if isinstance(found.base, ImageRoot) and image.platform.split("/")[:2] != expected:
            start = found.stage.start
            self.report.add(
                "InvalidBaseImagePlatform",
                start.location,
                found.base.reference,
                found.platform,
                image.platform,
                comments=start.comments,
            )

    # ------------------------------------------------------------------ evaluation

    def evaluate(self, index: int) -> StagePlan:
        """Its base has been evaluated before."""
        found = self.stages.found[index]
        image = self._image(found)
        state = self.states[index] = self._state(found)
        if isinstance(found.base, StageRoot):
            state.inherit(self.states[found.base.stage])
        elif image:
            state.begin(replace(image.defaults, on_build=()), image.history, image.author)
        else:
            state.base_known = not isinstance(found.base, ImageRoot)
            state.begin(RunDefaults())
        if state.defaults.working_dir:
            state.change(working_dir=absolute("/", state.defaults.working_dir))
        base, base_name, first = self._base(found, state, image)
        steps = first + self._steps(found, state)
        self.layers[index] = self._layers(found, image, steps)
        return StagePlan(
            index,
            state.name,
            found.stage.start.location,
            base,
            base_name,
            state.platform,
            steps,
            state.defaults,
            tuple(state.history),
            state.author,
            state.no_cache,
        )

    def _base(
        self, found: Foundation, state: StageState, image: _Image | None
    ) -> tuple[Root, str, tuple[Step, ...]]:
        """What the stage stands on, how getting it is displayed; a context is copied by a step."""
        base = found.base
        if isinstance(base, ImageRoot):
            name = state.numbered(f"FROM {base.reference}")
            return replace(base, image_id=image.image_id if image else None), name, ()
        if isinstance(base, ContextRoot):
            return ScratchRoot(), "", (context_as_base(state, found.stage.start, base),)
        return base, "", ()

    def _steps(self, found: Foundation, state: StageState) -> tuple[Step, ...]:
        if found.replaced:
            return ()
        steps = []
        for on_build, instructions in (
            (True, self.triggers[found.stage.index]),
            (False, found.stage.instructions),
        ):
            state.on_build = on_build
            steps += [evaluate(state, instruction) for instruction in instructions]
        return tuple(steps)

    def _layers(self, found: Foundation, image: _Image | None, steps: tuple[Step, ...]) -> int:
        count = image.layers if image else 0
        if isinstance(found.base, StageRoot):
            count = self.layers[found.base.stage]
        for step in steps:
            count += not step.empty_layer
            if count > MAX_LAYERS:
                raise Mistake(
                    f"the image has more than {MAX_LAYERS} layers here, and no node can mount it: do several "
                    f"things in one instruction, or copy what a stage made with one COPY --from"
                ).at(step.location)
        return count

    def _instructions(self, found: Foundation) -> tuple[typed.Instruction, ...]:
        if found.replaced:
            return ()
        return (*self.triggers[found.stage.index], *found.stage.instructions)

    def _state(self, found: Foundation) -> StageState:
        stage = found.stage
        from_elsewhere = found.replaced or not _is_plain(found)
        return StageState(
            self.request,
            self.stages,
            self.scope,
            Lexicon(self.dockerfile.escape),
            self.report,
            self.budget,
            self.ignore,
            stage.index,
            "" if len(self.dockerfile.stages) == 1 and not stage.name else _shown(stage),
            from_elsewhere + _numbered(self._instructions(found)),
            self._ignores_cache(stage),
            str(Platform.parse(found.platform)),
        )

    def _ignores_cache(self, stage: typed.Stage) -> bool:
        names = {name.lower() for name in self.request.no_cache_filter}
        return self.request.no_cache or bool(names & {stage.name, str(stage.index)})


class _Image:
    def __init__(self, resolved: ResolvedImage) -> None:
        """Raise ``InvalidManifest``."""
        document = parse_document(resolved.config.encode(), "image config")
        config = parse_config(resolved.config)
        self.image_id = resolved.image_id
        self.defaults = RunDefaults.parse(document.get("config"))
        self.history = config.history
        self.layers = len(config.diff_ids)
        self.author = config.author
        self.platform = str(config.platform)


def _resolved(resolve: Resolve, base: ImageRoot, location: Location, names: Iterable[str]) -> _Image:
    try:
        return _Image(resolve(base.reference, base.platform))
    except InvalidManifest as error:
        raise Mistake(f"the image {base.reference[:80]} cannot be built upon: {error.message}").at(
            location
        ) from None
    except SlipwayError as error:
        error.facts.update(location.facts(base.reference) | error.facts)
        guess = nearest(base.reference, names)
        if guess:
            error.facts["suggestion"] = guess
        raise


# --------------------------------------------------------------------------- parts


def _target(dockerfile: typed.Dockerfile, request: PlanRequest) -> int:
    if request.target is None or request.target == "":
        return len(dockerfile.stages) - 1
    wanted = request.target.lower()
    named = [stage.index for stage in dockerfile.stages if stage.name == wanted]
    if named:
        return named[-1]
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) < len(dockerfile.stages):
        return int(wanted[:9])
    names = [stage.name for stage in dockerfile.stages if stage.name]
    guess = nearest(request.target, names)
    hint = f" (did you mean {guess}?)" if guess else ""
    known = f"; there are {', '.join(names)[:200]}" if names else "; no stage has a name"
    raise NoSuchStage(
        f"{dockerfile.filename}: there is no stage {request.target[:80]!r} to build{known}{hint}",
        file=dockerfile.filename,
        suggestion=guess or None,
    )


def _shown(stage: typed.Stage) -> str:
    return stage.name or f"stage-{stage.index}"


def _is_plain(found: Foundation) -> bool:
    """Nothing has to be fetched to begin: another stage, or nothing at all."""
    return found.stage.start.image.lower() == "scratch" or isinstance(found.base, StageRoot)


def _numbered(instructions: Iterable[typed.Instruction]) -> int:
    return sum(isinstance(each, NUMBERED) for each in instructions)


def _fail_by_checks(report: Report) -> None:
    if report.options.error and report.findings:
        first = report.ordered[0]
        more = f" (and {len(report.findings) - 1} more)" if len(report.findings) > 1 else ""
        message = f"the check {first.rule} failed: {first.message}{more}"
        raise Mistake(message).at(first.location)


def _check_defaults(dockerfile: typed.Dockerfile, request: PlanRequest, report: Report) -> None:
    """With no build argument given, each FROM must still name an image."""
    try:
        scope: Scope = global_scope(dockerfile, request, Budget(), defaults_only=True)
    except InvalidDockerfile:
        return  # said again with the arguments given, if it is still so
    lexicon = Lexicon(dockerfile.escape)
    for stage in dockerfile.stages:
        start = stage.start
        try:
            check_reference(lexicon.expand(start.image, scope.values).text.lower(), ())
        except Mistake:
            report.add("InvalidDefaultArgInFrom", start.location, start.image, comments=start.comments)
