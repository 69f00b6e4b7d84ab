"""What each kind of step does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from workers.engine.build import modes, owners, sources
from workers.engine.build.executing import Run, run
from workers.engine.build.graph import StagePlan
from workers.engine.build.placing import Excluded, Found, Wanted, collect, place
from workers.engine.build.results import State, digest_of
from workers.engine.build.solver import Task, Work, cached, extended
from workers.engine.build.stacks import Stack
from workers.engine.build.steps import (
    BindMount,
    CacheMount,
    ContextRoot,
    CopyStep,
    PathSource,
    Root,
    RunStep,
    Step,
    WorkdirStep,
)
from workers.engine.build.uppers import Dress, Upper
from workers.engine.dockerfile.ignore import Ignore

_WHAT = "build context"


def do(task: Task, stage: StagePlan, position: int, step: Step, state: State) -> State:
    """The filesystem after ``step``."""
    line = task.lines.get((stage.index, position), 0)
    no_cache = step.no_cache or stage.no_cache
    match step:
        case RunStep():
            work = _run(task, step, state, line, no_cache)
        case CopyStep():
            work = _copy(task, step, state, line, no_cache)
        case WorkdirStep() if not step.empty_layer:
            work = _workdir(task, step, state, no_cache)
        case _:
            return State(state.key, state.layers, _times(step, state.times, None))
    entry = cached(task, line, work)
    return extended(state, entry, _times(step, state.times, entry.created))


def _times(step: Step, before: tuple[str, ...], created: float | None) -> tuple[str, ...]:
    """One more where the step has an entry in the history: when its layer was made, or the one before."""
    if not step.created_by:
        return before
    if created is None:
        return (*before, before[-1] if before else "")
    return (*before, stamp(created))


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --------------------------------------------------------------------------- RUN


def _run(task: Task, step: RunStep, state: State, line: int, no_cache: bool) -> Work:
    mounted = [[mount.target, _content(task, mount.root, mount.source)] for mount in step.mounts
               if isinstance(mount, BindMount)]  # fmt: skip

    for mount in step.mounts:
        if isinstance(mount, CacheMount) and not isinstance(mount.root, ContextRoot):
            task.state_of(mount.root)  # waits now; nobody waits for a stage while a step is being done

    def make() -> tuple[Path, int]:
        upper = run(
            Run(
                room=task.room,
                step=step,
                lowers=task.paths(state) or [task.room.new_directory("nothing")],
                layers=task.layers_of,
                secrets=task.secrets,
                agents=task.agents,
                streams=task.streams(line),
                check=task.check,
                deadline=task.deadline,
                number=_number(step.name),
            )
        )
        return upper, size_of(upper)

    content = digest_of(mounted) if mounted else ""
    return Work(step, step.name, state.key, content, make, no_cache)


def _content(task: Task, root: Root, source: str) -> str:
    """Of what a bind mount shows."""
    if not isinstance(root, ContextRoot) and source == "/":
        return task.state_of(root).key
    stack = task.stack(root)
    _, node = stack.resolve(source)
    if node is None:
        return ""
    entries = [("", node), *(stack.walk(node) if node.is_directory else ())]
    return task.digests.of_tree(entries, check=task.check)


def _number(name: str) -> str:
    """``3/7`` of ``[web 3/7] RUN …``."""
    return name.partition("]")[0].rpartition(" ")[2].lstrip("[") or name


# --------------------------------------------------------------------------- COPY and ADD


def _copy(task: Task, step: CopyStep, state: State, line: int, no_cache: bool) -> Work:
    below = [] if step.link else task.paths(state)
    owner = _owner(step.chown, Stack(task.paths(state)), task.room.project.uid_count)
    dress = Dress(owner, modes.parse(step.chmod) if step.chmod else None)
    excluded: Excluded | None = Ignore.of(step.exclude).excludes if step.exclude else None
    found: list[Found] = []
    for source in step.sources:
        if isinstance(source, PathSource):
            found += collect(_wanted(task, step, source), excluded)
        else:
            found.append(sources.found(task, step, source, line, excluded))
    content = digest_of(
        [_digest(task, each, each.dress.owner if each.dress else owner) for each in found],
        owner,
    )

    def make() -> tuple[Path, int]:
        directory = task.room.new_directory("copy")
        directory.chmod(0o755)
        place(
            Upper(directory, below, task.check),
            sources.unpacked(task, step, found),
            step.destination,
            dress,
            task.check,
        )
        return directory, size_of(directory)

    return Work(step, step.name, "" if step.link else state.key, content, make, no_cache)


def _digest(task: Task, found: Found, owner: tuple[int, int] | None) -> str:
    return found.content or task.digests.of_tree(found.named(), owner, task.check)


def _wanted(task: Task, step: CopyStep, source: PathSource) -> Wanted:
    is_context = isinstance(source.root, ContextRoot)
    return Wanted(
        task.stack(source.root),
        source.path,
        may_link=True,
        pivot=source.pivot,
        parents=step.parents,
        may_be_none=source.wildcards,
        what=_WHAT if is_context else "image or stage it is copied from",
        hides_ignored=is_context,
    )


def _owner(chown: str | None, stack: Stack, count: int) -> tuple[int, int] | None:
    """Names are looked up in the files of the stage. A user alone is the group of the same number.

    Without, everything keeps its owner: root in contexts and fetched files, its own in stages and images.
    """
    if not chown:
        return None
    user, _, group = chown.partition(":")
    resolved = owners.resolve(chown if group else user, reader(stack), count=count)
    if not group and user.isdigit():
        return resolved.uid, resolved.uid
    return resolved.uid, resolved.gid


def reader(stack: Stack) -> Callable[[str], str]:
    """As ``users.reader``, of a stack that is not mounted."""

    def read(path: str) -> str:
        node = stack.resolve(path)[1] if stack.root is not None else None
        if node is None or not node.is_file:
            return ""
        with open(node.place, "rb") as file:
            return file.read(1 << 20).decode(errors="replace")

    return read


# --------------------------------------------------------------------------- WORKDIR


def _workdir(task: Task, step: WorkdirStep, state: State, no_cache: bool) -> Work:
    def make() -> tuple[Path, int]:
        directory = task.room.new_directory("workdir")
        directory.chmod(0o755)
        upper = Upper(directory, task.paths(state))
        parts, node = upper.stack.resolve(step.path)
        if node is None:
            owner = _owner(step.user, upper.stack, task.room.project.uid_count)
            upper.ensure_directory(parts, owner or (0, 0))
        return directory, 0

    return Work(step, step.name, state.key, "", make, no_cache)


def size_of(directory: Path) -> int:
    """Bytes of the files in a layer."""
    total, pending = 0, [os.fspath(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
