"""COPY and ADD of files: from the step's sources to what goes where, and then there.

``collect`` decides everything (it is what the cache key's content is made of); ``place`` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workers.engine.build.matching import has_wildcards, pattern, unescaped
from workers.engine.build.stacks import Node, Parts, Stack, split
from workers.engine.build.uppers import Dress, Upper
from workers.engine.dockerfile.errors import nearest
from workers.engine.dockerfile.ignore import Ignore, InvalidPattern, Place
from workers.errors import BuildFailed

_CHECK_EVERY = 100
"""Files."""


def _nobody() -> None:
    """Nobody wants it ended."""


Excluded = Callable[[str], bool]
"""Whether a path (relative, without leading slash) is left out: below a source, with --parents below its
pivot or the root."""


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
    content: str = ""
    """What stands for it in the step's key; empty: all that is to be copied."""

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
        parts = split(wanted.path)
        one = _found(wanted, parts, excluded)
        kept = "/".join(parts[len(split(wanted.pivot)) :])
        left_out = wanted.parents and excluded is not None and kept and excluded(kept) and not one.entries
        return [] if left_out else [one]
    if wanted.parents:
        every = (_included(wanted, parts, excluded) for parts in _expand(wanted.stack, wanted.pivot))
        found = [each for each in every if each.entries]
    else:
        found = [_found(wanted, parts, excluded) for parts in _expand(wanted.stack, wanted.path)]
    if not found and not wanted.may_be_none:
        raise BuildFailed(f"lstat {wanted.path}: no files match in the {wanted.what}", path=wanted.path)
    return found


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


def _included(wanted: Wanted, pivot: Parts, excluded: Excluded | None) -> Found:
    """With --parents a path with wildcards is a pattern as those of .dockerignore: ``**`` is any depth, and a
    directory that matches comes with all that is in it. Links are not followed."""
    _, node = wanted.stack.resolve(pivot)
    assert node is not None  # noqa: S101 - it was found a moment ago
    if not node.is_directory:
        return Found("", node, (), wanted.may_link)
    pattern = "/".join(split(wanted.path)[len(split(wanted.pivot)) :]) or "**"
    try:
        included = Ignore.of([f"\\{pattern}" if pattern.startswith("!") else pattern])
    except InvalidPattern as error:
        raise BuildFailed(f"syntax error in pattern {wanted.path!r}: {error}", path=wanted.path) from None
    matching = _matching(wanted.stack, node, included.root, excluded or (lambda path: False))
    return Found("", node, tuple(matching), wanted.may_link)


def _matching(stack: Stack, top: Node, place: Place, excluded: Excluded) -> Iterator[tuple[str, Node]]:
    """What is included and not excluded, with the directories it lies in, parents first."""

    def inside(directory: Node, place: Place) -> Iterator[tuple[str, Node]]:
        for name in stack.names(directory):
            child = stack.child(directory, name)
            if child is None:
                continue
            there = place.enter(name)
            wanted = there.excluded and not excluded(there.path)
            if wanted:
                yield there.path, child
            if child.is_directory and (there.excluded or there.states):
                below = inside(child, there)
                first = next(below, None)
                if first is not None:
                    if not wanted:
                        yield there.path, child
                    yield first
                    yield from below

    return inside(top, place)


def _found(wanted: Wanted, parts: Parts, excluded: Excluded | None) -> Found:
    _, node = wanted.stack.resolve(parts)
    if node is None:
        shown = "/".join(parts)
        hint = "; a rule of .dockerignore may leave it out" if wanted.hides_ignored else ""
        guess = nearest_path(wanted.stack, parts)
        meant = f" (did you mean {guess}?)" if guess else ""
        raise BuildFailed(
            f'"/{shown}": not found in the {wanted.what}{meant}{hint}',
            path=f"/{shown}",
            suggestion=guess or None,
        )
    name = parts[-1] if parts else ""
    if excluded is not None and wanted.parents:
        excluded = _below(split(wanted.pivot), parts if node.is_directory else parts[:-1], excluded)
    if node.is_directory:
        entries = tuple(below(wanted.stack, node, excluded))
    else:
        entries = () if excluded is not None and excluded(name) else (("", node),)
    found = Found(name, node, entries, wanted.may_link)
    return _with_parents(wanted, parts, found) if wanted.parents else found


def nearest_path(stack: Stack, parts: Parts) -> str:
    """The path that was probably meant, by the names beside the first one that is not there; or nothing."""
    for depth in range(len(parts)):
        _, directory = stack.resolve(parts[:depth])
        if directory is None or not directory.is_directory:
            return ""
        if stack.resolve(parts[: depth + 1])[1] is None:
            guess = nearest(parts[depth], stack.names(directory))
            return "/".join((*parts[:depth], guess, *parts[depth + 1 :])) if guess else ""
    return ""


def _below(pivot: Parts, source: Parts, excluded: Excluded) -> Excluded:
    """For paths below the source, where patterns count from the pivot."""
    kept = source[len(pivot) :]
    return lambda path: excluded("/".join((*kept, path)))


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
