"""Build contexts: an uploaded archive, a git repository, a directory of the node, or nothing but a text.

A context is unpacked into a directory of the build's own, owned by root, and what ``.dockerignore`` leaves
out is taken away before anybody looks; from then on nobody changes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.engine.build import suggesting
from workers.engine.build.stacks import Stack
from workers.engine.build.unpacking import ContextLimits, unpack
from workers.engine.build.uppers import Dress, Upper
from workers.engine.dockerfile.ignore import Ignore, InvalidPattern, Place, ignore_names
from workers.engine.trees import remove_tree
from workers.errors import BuildFailed, DockerfileMissing, InvalidContext

MAX_DOCKERFILE = 8 << 20


@dataclass(frozen=True)
class Context:
    directory: Path
    dockerfile: str
    """The text."""
    filename: str
    revision: str = ""
    """The commit, of a git repository."""
    ignore: Ignore | None = None
    """What was left out of the directory."""


def from_archive(archive: BinaryIO, target: Path, limits: ContextLimits, check: Callable[[], None]) -> None:
    """Raise ``InvalidContext``, ``BuildExceeded``, ``NoSpace``."""
    target.mkdir(mode=0o755)
    unpack(archive, target, limits=limits, check=check)


def from_directory(source: Path, target: Path) -> None:
    """A copy: whose directory it is may go on changing it."""
    target.mkdir(mode=0o755)
    stack = Stack([source])
    upper = Upper(target, [])
    root = stack.root
    assert root is not None  # noqa: S101 - there is one layer
    for path, node in stack.walk(root):
        parts = tuple(path.split("/"))
        if node.is_directory:
            upper.copy_directory(node, parts, Dress())
        else:
            upper.copy(node, parts, Dress())
    upper.finish()


def dockerfile_at(path: Path, url: str) -> str:
    """What was fetched from ``url`` and is no archive, as a Dockerfile. Raise ``InvalidContext``."""
    if path.stat().st_size > MAX_DOCKERFILE:
        raise InvalidContext(f"{url} is no archive, and too large for a Dockerfile")
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidContext(f"{url} is neither an archive nor a Dockerfile")
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        raise InvalidContext(f"{url} is a web page; the address of a git repository ends with .git")
    return text


def within(directory: Path, subdirectory: str | None) -> Path:
    """A directory of a repository as the context. Raise ``InvalidContext``."""
    if not subdirectory:
        return directory
    parts, node = Stack([directory]).resolve(subdirectory)
    if node is None or not node.is_directory:
        raise InvalidContext(f"The repository has no directory {subdirectory!r}")
    return directory.joinpath(*parts)


def opened(directory: Path, dockerfile: str, text: str | None, revision: str = "") -> Context:
    """With the Dockerfile read and without what is ignored. Raise ``BuildFailed``, ``InvalidContext``."""
    stack = Stack([directory])
    filename = dockerfile or "Dockerfile"
    body = text if text is not None else read_text(stack, filename)
    if body is None:
        raise _missing(stack, filename)
    rules = read_ignore(stack, filename)
    if rules is not None and rules.patterns:
        prune(directory, rules)
    return Context(directory, body, filename, revision, rules)


def _missing(stack: Stack, filename: str) -> DockerfileMissing:
    message = f"failed to read dockerfile: {filename}: no such file in the build context"
    proposal = suggesting.propose(stack)
    if proposal is None:
        return DockerfileMissing(message, file=filename)
    return DockerfileMissing(message, file=filename, title=proposal.title, proposal=proposal.dockerfile)


def read_text(stack: Stack, path: str, limit: int = MAX_DOCKERFILE) -> str | None:
    _, node = stack.resolve(path) if stack.root is not None else ((), None)
    if node is None or not node.is_file:
        return None
    if node.status.st_size > limit:
        raise BuildFailed(f"{path} has {node.status.st_size} bytes; {limit} are allowed", file=path)
    with open(node.place, "rb") as file:
        return file.read(limit).decode(errors="replace")


def read_ignore(stack: Stack, dockerfile: str) -> Ignore | None:
    return _first_ignore(stack, ignore_names(dockerfile))


def ignore_own(directory: Path) -> None:
    """Of a folder that is a context by name: it has no Dockerfile, but may have a ``.dockerignore``."""
    rules = _first_ignore(Stack([directory]), ignore_names("")[1:])
    if rules is not None and rules.patterns:
        prune(directory, rules)


def _first_ignore(stack: Stack, names: Sequence[str]) -> Ignore | None:
    for name in names:
        text = read_text(stack, name)
        if text is not None:
            try:
                return Ignore.parse(text)
            except InvalidPattern as error:
                raise BuildFailed(f"{name}: {error}", file=name) from error
    return None


def prune(directory: Path, rules: Ignore) -> None:
    """Take away what the rules exclude; a directory stays where something in it is included."""
    _prune(os.fspath(directory), rules.root)


def _prune(directory: str, place: Place) -> bool:
    """Whether anything is left in it."""
    left = False
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        inner = place.enter(entry.name)
        if not entry.is_dir(follow_symlinks=False):
            if inner.excluded:
                os.unlink(entry.path)
            else:
                left = True
        elif inner.prunable:
            remove_tree(Path(entry.path))
        elif _prune(entry.path, inner) or not inner.excluded:
            left = True
        else:
            remove_tree(Path(entry.path))
    return left
