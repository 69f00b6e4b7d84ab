"""COPY and ADD: sources, destination, owner, mode. Pure; wildcards are left to the solver."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

from workers.engine.build.paths import absolute, destination
from workers.engine.build.state import StageState
from workers.engine.build.steps import (
    ContextRoot,
    CopySource,
    CopyStep,
    GitSource,
    InlineFile,
    InlineSource,
    PathSource,
    Root,
    UrlSource,
)
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.expansion import Lexicon
from workers.engine.dockerfile.gitrefs import GitReference, check_commit, parse_git
from workers.engine.dockerfile.ignore import Ignore, InvalidPattern
from workers.errors import InvalidDigest
from workers.oci.digest import Digest

_OCTAL = re.compile(r"[0-7]{1,5}")
_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*")
_INLINE = Lexicon(ignore_quotes=True)
"""Heredocs: quotes are part of the file."""


def copy(state: StageState, instruction: typed.Copy) -> CopyStep:
    """Raise ``Mistake``."""

    def expand(text: str) -> str:
        return state.expand(text, instruction)

    root = _root(state, instruction)
    paths = [expand(path) for path in instruction.paths]
    chown, chmod, checksum = map(expand, (instruction.chown, instruction.chmod, instruction.checksum))
    exclude = _patterns(tuple(map(expand, instruction.exclude)))
    target = expand(instruction.destination)
    if chmod:
        _check_mode(chmod)
    if checksum and len(paths) != 1:
        raise Mistake("--checksum needs exactly one source", "--checksum")
    sources: list[CopySource] = [_source(instruction, root, path, checksum) for path in paths]
    for heredoc in instruction.heredocs:
        data = heredoc.chomped
        data = state.expand(data, instruction, _INLINE) if heredoc.expand else data
        sources.append(InlineSource(InlineFile(posixpath.basename(heredoc.name), data)))
    if root == ContextRoot() and state.ignore is not None:
        _check_ignored(state, instruction, sources, state.ignore)
    name = state.numbered(state.displayed(instruction.source, state.lexicon))
    created_by = _history(instruction, paths, target, chown, chmod)
    state.record(created_by, empty_layer=False)
    return CopyStep(
        *state.common(instruction, name, created_by, empty_layer=False),
        sources=tuple(sources),
        destination=destination(state.defaults.working_dir, target),
        chown=chown or None,
        chmod=chmod or None,
        link=instruction.link,
        parents=instruction.parents,
        exclude=exclude,
        unpack=instruction.unpack,
    )


def context_as_base(state: StageState, start: typed.From, root: ContextRoot) -> CopyStep:
    """``FROM`` a named context: all its files are the first layer."""
    name = state.numbered(f"FROM {start.image}")
    created_by = f"FROM {start.image} # buildkit"
    state.record(created_by, empty_layer=False)
    common = state.common(start, name, created_by, empty_layer=False)
    return CopyStep(*common, sources=(PathSource(root, "/"),))


def _root(state: StageState, instruction: typed.Copy) -> Root:
    name = instruction.source_of
    if not name:
        return ContextRoot()
    return state.stages.root_of(name, state.index)


def _history(instruction: typed.Copy, paths: list[str], target: str, chown: str, chmod: str) -> str:
    words = [instruction.name]
    if instruction.parents:
        words.append("--parents")
    if chown:
        words.append(f"--chown={chown}")
    if chmod:
        words.append(f"--chmod={chmod}")
    words += [*paths, *(f"<<{heredoc.name}" for heredoc in instruction.heredocs), target]
    return " ".join(words) + " # buildkit"


def _patterns(exclude: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Ignore.of(exclude)
    except InvalidPattern as error:
        raise Mistake(f"--exclude: {error}", "--exclude") from None
    return exclude


def _check_mode(mode: str) -> None:
    if _OCTAL.fullmatch(mode) and int(mode, 8) <= 0o7777:
        return
    if not _SYMBOLIC.fullmatch(mode):
        raise Mistake(f"--chmod is {mode[:40]!r}; 0755 or u=rwX,go=rX was expected", mode)


# --------------------------------------------------------------------------- sources


def _source(instruction: typed.Copy, root: Root, path: str, checksum: str) -> CopySource:
    git = parse_git(path)
    is_url = path.startswith(("http://", "https://"))
    if (git or is_url) and instruction.name == "COPY":
        raise Mistake("COPY takes no address; ADD does", path, suggestion="ADD")
    if git:
        return _git(instruction, git, checksum)
    if is_url:
        return _url(path, checksum)
    if checksum:
        raise Mistake("--checksum is for addresses: https://… or a git repository", "--checksum")
    return _path(root, path, instruction.parents)


def _git(instruction: typed.Copy, git: GitReference, checksum: str) -> GitSource:
    keep = instruction.keep_git_dir
    if keep is not None and git.keep_git_dir is not None and keep != git.keep_git_dir:
        raise Mistake("--keep-git-dir and the address say different things", "--keep-git-dir")
    if checksum and git.checksum and checksum != git.checksum:
        raise Mistake("--checksum and the address say different things", "--checksum")
    return GitSource(
        git.remote,
        git.ref or checksum,
        git.subdirectory,
        bool(keep if git.keep_git_dir is None else git.keep_git_dir),
        git.checksum or (check_commit(checksum) if checksum else None),
        git.submodules,
    )


def _url(url: str, checksum: str) -> UrlSource:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise Mistake(f"{url[:80]!r} is no address: {error}", url) from None
    if not host:
        raise Mistake(f"{url[:80]!r} is no address: the host's name is missing", url)
    if checksum:
        try:
            Digest.parse(checksum)
        except InvalidDigest:
            message = f"--checksum is {checksum[:80]!r}; sha256: and 64 hex digits were expected"
            raise Mistake(message, checksum) from None
    return UrlSource(url, posixpath.basename(parts.path) or "__unnamed__", checksum or None)


def _path(root: Root, path: str, parents: bool) -> PathSource:
    pivot = "/"
    if parents and "/./" in path:
        pivot = absolute("/", path.partition("/./")[0])
    return PathSource(root, absolute("/", path), _has_wildcards(path), pivot)


def _has_wildcards(path: str) -> bool:
    return re.search(r"[*?\[]", re.sub(r"\\.", "", path, flags=re.DOTALL)) is not None


def _check_ignored(
    state: StageState, instruction: typed.Copy, sources: list[CopySource], ignore: Ignore
) -> None:
    """An exception may bring a file back that only the walk finds; then nothing is said."""
    if ignore.has_exceptions:
        return
    for source in sources:
        if not isinstance(source, PathSource):
            continue
        path = source.path.strip("/")
        everything = not path and any(each.text in ("*", "**", "**/*") for each in ignore.patterns)
        if everything or (path and ignore.excludes(path)):
            state.report.add(
                "CopyIgnoredFile",
                instruction.location,
                instruction.name.title(),
                path or ".",
                comments=instruction.comments,
            )
