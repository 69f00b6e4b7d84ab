"""A stack of layers read as one filesystem, without mounting it.

Every layer is a directory on the node's disk that nobody changes any more, so a path is looked up
layer by layer as overlayfs would: whiteouts hide, opaque directories hide what is below them, the
topmost of several directories gives the attributes. Symbolic links are resolved within the stack;
no link, however it is made, leads out of it: only real directories are ever walked through.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.engine.extract import OPAQUE
from workers.errors import BuildFailed

MAX_LINKS = 40
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """What a path is. ``places`` are where it lies on the disk: several for a directory, topmost first."""

    status: os.stat_result
    places: tuple[str, ...]

    @property
    def place(self) -> str:
        return self.places[0]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)


class Stack:
    """``layers`` topmost first. Those below the first may be remembered; the topmost may change."""

    def __init__(self, layers: Sequence[Path | str]) -> None:
        self._layers = _visible([os.fspath(layer) for layer in layers])

    @property
    def root(self) -> Node | None:
        """None where there is no layer at all."""
        if not self._layers:
            return None
        return Node(os.lstat(self._layers[0]), tuple(self._layers))

    def child(self, parent: Node, name: str) -> Node | None:
        """What ``name`` is in a directory of the stack."""
        found: list[str] = []
        first: os.stat_result | None = None
        for place in parent.places:
            path = f"{place}/{name}"
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if is_whiteout(status):
                break
            if not stat.S_ISDIR(status.st_mode):
                if first is None:
                    return Node(status, (path,))
                break
            first = first or status
            found.append(path)
            if _is_opaque(path):
                break
        return None if first is None else Node(first, tuple(found))

    def names(self, directory: Node) -> list[str]:
        """Sorted names in a directory of the stack."""
        shown: set[str] = set()
        hidden: set[str] = set()
        for place in directory.places:
            below: set[str] = set()
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name in shown or entry.name in hidden:
                        continue
                    if _may_be_whiteout(entry) and is_whiteout(entry.stat(follow_symlinks=False)):
                        below.add(entry.name)
                    else:
                        shown.add(entry.name)
            hidden |= below
        return sorted(shown)

    def lookup(self, parts: Parts) -> Node | None:
        """The node at ``parts``, none of which may be a link on the way; the last is not followed."""
        node = self.root
        for part in parts:
            if node is None or not node.is_directory:
                return None
            node = self.child(node, part)
        return node

    def resolve(self, path: str | Parts, *, last: bool = True) -> tuple[Parts, Node | None]:
        """Follow every link within the stack (the last component's only if ``last``).

        The node is None where nothing is; its parts are then where it would be. ``BuildFailed`` for
        links in a circle and for a path through what is no directory.
        """
        left = list(reversed(split(path) if isinstance(path, str) else path))
        done: list[str] = []
        trail: list[Node | None] = [self.root]
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                if done:
                    done.pop()
                    trail.pop()
                continue
            parent = trail[-1]
            node = None if parent is None else self._step(parent, part, done)
            if node is not None and node.is_link and (left or last):
                links += 1
                if links > MAX_LINKS:
                    raise BuildFailed(f"/{'/'.join([*done, part])}: too many levels of symbolic links")
                target = os.readlink(node.place)
                if target.startswith("/"):
                    done, trail = [], trail[:1]
                left.extend(reversed(split(target)))
                continue
            done.append(part)
            trail.append(node)
        return tuple(done), trail[-1]

    def _step(self, parent: Node, part: str, done: list[str]) -> Node | None:
        if not parent.is_directory:
            raise BuildFailed(f"/{'/'.join(done)} is not a directory")
        return self.child(parent, part)

    def walk(self, node: Node, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """What is below a directory, by paths relative to it; parents first, sorted."""
        pending = [(prefix, node)]
        while pending:
            at, directory = pending.pop()
            deeper = []
            for name in self.names(directory):
                child = self.child(directory, name)
                if child is None:
                    continue
                path = f"{at}/{name}" if at else name
                yield path, child
                if child.is_directory:
                    deeper.append((path, child))
            pending.extend(reversed(deeper))


def split(path: str) -> Parts:
    """Components, with ``.`` and empty ones left out; ``..`` stays."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _may_be_whiteout(entry: os.DirEntry[str]) -> bool:
    return not (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()
    )


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _visible(layers: list[str]) -> list[str]:
    for position, layer in enumerate(layers):
        if _is_opaque(layer):
            return layers[: position + 1]
    return layers
