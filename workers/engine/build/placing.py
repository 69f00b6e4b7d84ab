"""COPY and ADD of files: from the step's sources to what goes where, and then there.

``collect`` decides everything (it is what the cache key's content is made of); ``place`` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workers.engine.build.matching import has_wildcards, pattern, unescaped
from workers.engine.build.stacks import Node, Parts, Stack, split
from workers.engine.build.uppers import Dress, Upper
from workers.errors import BuildFailed

_CHECK_EVERY = 100
"""Files."""


def _nobody() -> None:
    """Nobody wants it ended."""


Excluded = Callable[[str], bool]
"""Whether a path below a source (relative, without leading slash) is left out."""


@dataclass(frozen=True)
class Found:
    """One source: what it is called, and all that is to be copied of it."""

    name: str
    """Last component of the path asked for; what it is called in a directory."""
    node: Node
    entries: tuple[tuple[str, Node], ...]
    """Below a directory, parents first; a file alone is ``("", node)``."""
    may_link: bool
    kept: str = ""
    """With --parents: the directories above it that are kept, relative to the destination."""
    above: tuple[tuple[str, Node], ...] = ()
    """Those directories themselves."""
    dress: Dress | None = None
    """In place of the step's."""

    def named(self) -> Iterator[tuple[str, Node]]:
        """For the content's digest."""
        yield from self.above
        for path, node in self.entries:
            yield f"{self.kept}\0{self.name if not self.node.is_directory else ''}\0{path}", node


@dataclass(frozen=True)
class Wanted:
    """A path in a stack, as the step asks for it."""

    stack: Stack
    path: str
    may_link: bool
    pivot: str = "/"
    parents: bool = False
    may_be_none: bool = False
    """That nothing matches its wildcards is no error."""
    what: str = "build context"
    hides_ignored: bool = False
    """The context's .dockerignore applies; said when nothing is found."""


def collect(wanted: Wanted, excluded: Excluded | None = None) -> list[Found]:
    """Raise ``BuildFailed`` when there is nothing."""
    if not has_wildcards(wanted.path):
        return [_found(wanted, split(wanted.path), excluded)]
    matches = list(_expand(wanted.stack, wanted.path))
    if not matches and not wanted.may_be_none:
        raise BuildFailed(f"lstat {wanted.path}: no files match in the {wanted.what}", path=wanted.path)
    return [_found(wanted, parts, excluded) for parts in matches]


def _expand(stack: Stack, path: str) -> Iterator[Parts]:
    """Every path that matches, sorted; links on the way are followed as the shell would."""
    components = [part for part in path.split("/") if part not in ("", ".")]

    def descend(at: Parts, rest: Sequence[str]) -> Iterator[Parts]:
        if not rest:
            yield at
            return
        _, here = stack.resolve(at)
        if here is None or not here.is_directory:
            return  # a file is no match for what has more to come
        if not has_wildcards(rest[0]):
            name = unescaped(rest[0])
            _, node = stack.resolve((*at, name), last=len(rest) > 1)
            if node is not None:
                yield from descend((*at, name), rest[1:])
            return
        matcher = pattern(rest[0])
        for name in stack.names(here):
            if matcher.fullmatch(name):
                yield from descend((*at, name), rest[1:])

    yield from descend((), components)


def _found(wanted: Wanted, parts: Parts, excluded: Excluded | None) -> Found:
    _, node = wanted.stack.resolve(parts)
    if node is None:
        shown = "/".join(parts)
        hint = "; a rule of .dockerignore may leave it out" if wanted.hides_ignored else ""
        raise BuildFailed(f'"/{shown}": not found in the {wanted.what}{hint}', path=f"/{shown}")
    name = parts[-1] if parts else ""
    if node.is_directory:
        entries = tuple(below(wanted.stack, node, excluded))
    else:
        entries = () if excluded is not None and excluded(name) else (("", node),)
    found = Found(name, node, entries, wanted.may_link)
    return _with_parents(wanted, parts, found) if wanted.parents else found


def below(stack: Stack, node: Node, excluded: Excluded | None) -> Iterator[tuple[str, Node]]:
    """What is copied of a directory."""
    if excluded is None:
        yield from stack.walk(node)
        return
    # A directory that is left out is made all the same when something in it is not.
    waiting: list[tuple[str, Node]] = []
    for path, child in stack.walk(node):
        while waiting and not path.startswith(f"{waiting[-1][0]}/"):
            waiting.pop()
        if not excluded(path):
            yield from waiting
            waiting.clear()
            yield path, child
        elif child.is_directory:
            waiting.append((path, child))


def _with_parents(wanted: Wanted, parts: Parts, found: Found) -> Found:
    pivot = split(wanted.pivot)
    kept = parts[len(pivot) :]
    directories = kept if found.node.is_directory else kept[:-1]
    above = []
    for depth in range(1, len(directories) + 1):
        _, node = wanted.stack.resolve((*pivot, *directories[:depth]))
        if node is not None and node.is_directory:
            above.append(("/".join(directories[:depth]), node))
    return replace(found, kept="/".join(directories), above=tuple(above))


# --------------------------------------------------------------------------- carrying it out


def place(
    upper: Upper, found: Iterable[Found], destination: str, dress: Dress, check: Callable[[], None] = _nobody
) -> None:
    """Put what was found at ``destination``; missing parents are made, owned as the files will be.

    ``check`` is called all along, and may raise to end it.
    Raise ``BuildFailed`` where a directory would have to become a file or the other way round.
    """
    sources = list(found)
    into = destination.endswith(("/", "/."))
    if len(sources) > 1 and not into:
        raise BuildFailed(
            "When using COPY with more than one source file, the destination must be a directory and end "
            f"with a /: {destination}",
            destination=destination,
        )
    for each in sources:
        check()
        dressed = replace(each.dress or dress, may_link=each.may_link)
        _place_one(upper, each, destination, into, dressed, check)
    upper.finish()


def _place_one(
    upper: Upper, found: Found, destination: str, into: bool, dress: Dress, check: Callable[[], None]
) -> None:
    parts, there = upper.stack.resolve(destination)
    owner = dress.owner or (0, 0)
    if found.kept:
        upper.ensure_directory(parts, owner)
        for path, node in found.above:
            upper.copy_directory(node, (*parts, *split(path)), dress)
        parts, there = (*parts, *split(found.kept)), found.node
    if found.node.is_directory:
        _place_tree(upper, found, parts, dress, check)
        return
    is_directory = into or bool(found.kept) or (there is not None and there.is_directory)
    target = (*parts, found.name) if is_directory else parts
    if not target:
        raise BuildFailed("cannot replace to directory / with file")
    upper.ensure_directory(target[:-1], owner)
    for _, node in found.entries:
        upper.copy(node, target, dress)


def _place_tree(upper: Upper, found: Found, parts: Parts, dress: Dress, check: Callable[[], None]) -> None:
    """What is in a directory; the destination has its own looks, or those of any new directory."""
    upper.ensure_directory(parts, dress.owner or (0, 0))
    for number, (path, node) in enumerate(found.entries):
        if number % _CHECK_EVERY == 0:
            check()
        target = (*parts, *path.split("/"))
        if node.is_directory:
            upper.copy_directory(node, target, dress)
        else:
            upper.copy(node, target, dress)
