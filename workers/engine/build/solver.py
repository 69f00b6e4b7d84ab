"""From a graph to filesystems: every stage the target needs, each step from the cache or done.

A stage is a thread; it waits for another only where a step reads from it. What fails first ends all.
Equal steps, of one build or of several in the project, are done once.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.content import full_disk
from workers.engine.build.bases import Bases
from workers.engine.build.cache import Cache, Entry, Session, held
from workers.engine.build.contents import Digests
from workers.engine.build.fetching import Fetcher
from workers.engine.build.git import Git
from workers.engine.build.graph import Graph, StagePlan
from workers.engine.build.output import Lines, Write
from workers.engine.build.progress import Progress
from workers.engine.build.redaction import Known
from workers.engine.build.results import Layer, State, chain_key, digest_of
from workers.engine.build.room import Room
from workers.engine.build.sshkeys import Key
from workers.engine.build.stacks import Stack
from workers.engine.build.steps import ContextRoot, ImageRoot, Root, ScratchRoot, StageRoot, Step
from workers.engine.runtime.process import boot_id
from workers.errors import BuildFailed, SlipwayError
from workers.messages import LayerFacts

AT_ONCE = 2
"""Steps of one build that work at the same time; a build has one CPU unless it was given more."""
_LOOK = 0.1
_NEAR = ("path", "user", "group", "secret", "ssh", "url", "image")
"""Facts of an error that may stand in the instruction's text: the marker goes under the first that does."""

MadeBy = Callable[[], tuple[Path, int]]
"""Does a step: the directory that is its layer, and the bytes in it."""


class Abandoned(Exception):
    """Another stage of the build failed."""


@dataclass
class Task:
    """One solving; what its threads share."""

    graph: Graph
    room: Room
    cache: Cache
    session: Session
    digests: Digests
    bases: Bases
    fetcher: Fetcher
    git: Git
    contexts: Mapping[str, Path]
    """Directories of the named contexts of kind ``files``, and of the build context."""
    secrets: Mapping[str, str]
    agents: Mapping[str, tuple[Key, ...]]
    """Keys for ``--mount=type=ssh``, by id."""
    redacted: Known
    write: Write
    progress: Progress
    cancelled: Callable[[], None]
    """Raises when somebody wants the build ended."""
    deadline: float
    """Monotonic."""
    states: dict[int, State] = field(default_factory=dict)
    lines: dict[tuple[int, int], int] = field(default_factory=dict)
    """(stage, position of the step; -1 its base) to the step's id in the progress."""
    layers: dict[str, Entry] = field(default_factory=dict)
    """By key: what became a layer of the node in this build, or was one."""
    failure: BaseException | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))

    def check(self) -> None:
        self.cancelled()
        if self.failure is not None:
            raise Abandoned

    def streams(self, step: int) -> tuple[Lines, Lines]:
        return (
            Lines(self.write, f"{step}:stdout", self.redacted),
            Lines(self.write, f"{step}:stderr", self.redacted),
        )

    # ------------------------------------------------------------------ roots

    def state_of(self, root: Root) -> State:
        """Of a root that is no context; waits for a stage that is not done."""
        match root:
            case ScratchRoot():
                return State("scratch")
            case ImageRoot():
                image = self.bases.image(root)
                layers = tuple(
                    Layer(facts, kind) for facts, kind in zip(image.layers, image.media_types, strict=True)
                )
                return State(chain_key(image.layers), layers)
            case StageRoot():
                return self._stage(root.stage)
            case ContextRoot():
                raise TypeError("A context has no layers")

    def _stage(self, index: int) -> State:
        with self.changed:
            while index not in self.states:
                self.check()
                self.changed.wait(_LOOK)
            return self.states[index]

    def layers_of(self, root: Root) -> list[Path]:
        """Directories, topmost first."""
        if isinstance(root, ContextRoot):
            return [self.contexts[root.name]]
        return self.paths(self.state_of(root))

    def paths(self, state: State) -> list[Path]:
        return [self.path(layer) for layer in reversed(state.layers)]

    def path(self, layer: Layer) -> Path:
        if layer.entry is not None:
            return self.cache.path(self.session.project, layer.entry)
        assert layer.facts is not None  # noqa: S101 - a layer is one or the other
        return self.room.engine.places.layer(layer.facts.diff_id)

    def stack(self, root: Root) -> Stack:
        return Stack(self.layers_of(root))


def stages(task: Task, do: Callable[[Task, StagePlan, int, Step, State], State]) -> None:
    """Do every stage of the graph; ``task.states`` has them all. Raise what failed first."""
    _list_steps(task)
    threads = [
        threading.Thread(target=_run_stage, args=(task, stage, do), name=f"stage-{stage.index}", daemon=True)
        for stage in task.graph.stages
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK)
            task.progress.flush()
    if task.failure is not None:
        raise task.failure


def _list_steps(task: Task) -> None:
    for name in task.graph.skipped:
        task.progress.add(f"[{name}]", name, "skipped")
    for stage in task.graph.stages:
        if stage.base_name:
            task.lines[stage.index, -1] = task.progress.add(stage.base_name, stage.name)
        for position, step in enumerate(stage.steps):
            if not step.empty_layer:
                task.lines[stage.index, position] = task.progress.add(step.name, stage.name)


def _run_stage(
    task: Task, stage: StagePlan, do: Callable[[Task, StagePlan, int, Step, State], State]
) -> None:
    step: Step | None = None
    position = -1
    try:
        state = _base(task, stage)
        for position, step in enumerate(stage.steps):
            task.check()
            state = do(task, stage, position, step, state)
    except Abandoned:
        return
    except BaseException as raised:  # noqa: BLE001 - carried over to the caller's thread
        error = _told(raised)
        _placed(error, stage, step)
        with task.changed:
            if task.failure is None:
                task.failure = error
                line = task.lines.get((stage.index, position))
                if line is not None and isinstance(error, SlipwayError):
                    task.progress.end(line, "failed", error.message)
            task.changed.notify_all()
        return
    with task.changed:
        task.states[stage.index] = state
        task.changed.notify_all()


def _told(error: BaseException) -> BaseException:
    """Directories can be nested deeper than a path can be long; no layer can hold that."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        told = BuildFailed("A path is longer than 4095 bytes; no layer can hold it")
        told.__cause__ = error
        return told
    return error


def _placed(error: BaseException, stage: StagePlan, step: Step | None) -> None:
    """Say where in the Dockerfile it happened."""
    if isinstance(error, SlipwayError):
        location = stage.location if step is None else step.location
        said = (str(error.facts[name]).lstrip("/") for name in _NEAR if error.facts.get(name))
        near = next((each for each in said if each in location.text), "")
        error.facts.update(location.facts(near) | error.facts)
        error.facts.setdefault("step", stage.base_name if step is None else step.name)


def _base(task: Task, stage: StagePlan) -> State:
    if isinstance(stage.base, ContextRoot):
        raise TypeError("A stage upon files is made by its first step")
    line = task.lines.get((stage.index, -1))
    if line is not None:
        task.progress.begin(line)
    state = task.state_of(stage.base)
    if isinstance(stage.base, ImageRoot):
        state = State(state.key, state.layers, task.bases.times(stage.base))
    if line is not None:
        task.progress.end(line)
    return state


# --------------------------------------------------------------------------- one step, cached


@dataclass(frozen=True)
class Work:
    """A step that has a layer: what its key is made of, and how it is done."""

    step: Step
    name: str
    parent: str
    content: str
    make: MadeBy
    no_cache: bool


def cached(task: Task, line: int, work: Work) -> Entry:
    """Its entry, from the cache or made now."""
    instruction = digest_of(work.step.key)
    key = digest_of("step", work.parent, instruction, work.content)
    project = task.session.project
    with task.cache.working(project, key, task.check):
        found = None if work.no_cache else task.cache.find(task.session, key)
        if found is not None:
            task.progress.end(line, "cached")
            return found
        reason = (
            "the cache was not to be used"
            if work.no_cache
            else task.cache.reason(project, key, work.parent, instruction, work.content)
        )
        with held(task.slots, task.check):
            task.check()
            task.progress.begin(line)
            task.progress.note(line, reason=reason)
            with full_disk(task.room.directory):
                upper, size = work.make()
        now = time.time()
        entry = Entry(key, work.parent, instruction, work.content, work.name, now, now, size, boot_id(), None)
        entry = task.cache.commit(task.session, entry, upper)
    task.progress.end(line, "done")
    return entry


def extended(state: State, entry: Entry, times: tuple[str, ...]) -> State:
    facts: LayerFacts | None = entry.layer
    return State(entry.key, (*state.layers, Layer(facts, "", entry)), times)
