"""Sources of COPY and ADD that are no files of a root: heredocs, URLs, git repositories; and archives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workers.engine.build.git import Repository
from workers.engine.build.placing import Excluded, Found, below
from workers.engine.build.solver import Task
from workers.engine.build.stacks import Node, Stack
from workers.engine.build.steps import CopyStep, GitSource, InlineSource, PathSource, UrlSource
from workers.engine.build.unpacking import ContextLimits, kind_of, unpack
from workers.engine.build.uppers import Dress
from workers.errors import BuildFailed, InvalidContext


def found(
    task: Task,
    step: CopyStep,
    source: UrlSource | GitSource | InlineSource,
    line: int,
    excluded: Excluded | None,
) -> Found:
    """What the source gives."""
    match source:
        case InlineSource():
            return _inline(task, source)
        case UrlSource():
            return _url(task, source, line)
        case GitSource():
            return _git(task, source, excluded)


def _file(path: Path, name: str) -> Found:
    node = Node(os.lstat(path), (str(path),))
    return Found(name, node, (("", node),), may_link=True)


def _inline(task: Task, source: InlineSource) -> Found:
    path = task.room.new_directory("inline") / "file"
    path.write_bytes(source.file.data.encode(errors="surrogateescape"))
    path.chmod(source.file.mode)
    return _file(path, source.file.name)


def _url(task: Task, source: UrlSource, line: int) -> Found:
    path = task.room.new_directory("url") / "file"

    def report(done: int, total: int) -> None:
        task.progress.note(line, progress=_bytes(done, total))

    task.fetcher.fetch(source.url, source.checksum, path, report, task.check)
    return _file(path, source.filename)


def _git(task: Task, source: GitSource, excluded: Excluded | None) -> Found:
    path = task.room.new_directory("git") / "tree"
    repository = Repository.of(
        source.remote, ref=source.ref, submodules=source.submodules, keep_git_dir=source.keep_git_dir
    )
    commit = task.git.checkout(repository, path)
    task.fetcher.used[f"git+{repository.url}"] = commit
    if source.checksum and not commit.startswith(source.checksum):
        raise BuildFailed(f"{repository.url}: the commit is {commit}, not {source.checksum}")
    stack = Stack([path])
    _, node = stack.resolve(source.subdirectory)
    if node is None or not node.is_directory:
        raise BuildFailed(f"{repository.url}: there is no directory {source.subdirectory!r} in it")
    # What git keeps for itself is never twice the same.
    content = f"git {repository.url} {commit} {source.subdirectory}" if source.keep_git_dir else ""
    return Found("", node, tuple(below(stack, node, excluded)), may_link=True, content=content)


# --------------------------------------------------------------------------- archives


def unpacked(task: Task, step: CopyStep, sources: Sequence[Found]) -> list[Found]:
    """With the files of archives in the place of the archives that the step unpacks."""
    kinds = [isinstance(source, PathSource) for source in step.sources]
    by_itself = step.instruction == "ADD" and all(kinds)
    if step.unpack is False or (step.unpack is None and not by_itself):
        return list(sources)
    return [_unpacked(task, step, each) for each in sources]


def _unpacked(task: Task, step: CopyStep, source: Found) -> Found:
    if not source.node.is_file or not source.entries:
        return source
    with open(source.node.place, "rb") as file:
        kind = kind_of(file)
        if kind is None or kind == "zip":
            return source
        directory = task.room.new_directory("archive")
        directory.chmod(0o755)
        try:
            unpack(file, directory, limits=ContextLimits(), keep_owners=True, check=task.check)
        except InvalidContext as error:
            if step.unpack:
                raise
            if kind != "tar":  # compressed, but no tar: copied as it is
                return source
            raise BuildFailed(f"{source.name}: {error.message}") from error
    stack = Stack([directory])
    node = stack.root
    assert node is not None  # noqa: S101 - it was made above
    # Docker's way: an archive says itself whose its files are, whatever --chown says.
    return replace(source, node=node, entries=tuple(stack.walk(node)), kept="", above=(), dress=Dress())


def _bytes(done: int, total: int) -> str:
    return f"{done / 1e6:.1f} MB of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
