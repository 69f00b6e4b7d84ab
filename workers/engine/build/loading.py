"""A build's context and those it has by name, fetched into directories of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from workers.engine.build import contexts
from workers.engine.build.contexts import Context
from workers.engine.build.fetching import Fetcher
from workers.engine.build.git import Git, Repository
from workers.engine.build.progress import Note, shown_bytes
from workers.engine.build.room import Room
from workers.engine.build.unpacking import ContextLimits, kind_of
from workers.errors import InvalidContext
from workers.messages import BuildOptions, BuildSource, is_repository

IMAGE = "docker-image://"
Shown = Callable[[str], AbstractContextManager[Note]]
"""Shows a line of that name, and how far it is."""


@dataclass(frozen=True)
class Loaded:
    """What came beside the files."""

    revision: str = ""
    """The commit of a repository, the digest of what lay at an address."""
    dockerfile: str | None = None
    """The text at an address that is no archive."""


@dataclass(frozen=True)
class Loader:
    room: Room
    git: Git
    fetcher: Fetcher
    limits: ContextLimits
    open_upload: Callable[[str], BinaryIO]
    cancelled: Callable[[], None]
    directory: Path | None
    """In place of an upload: a directory of the node, by hand only."""

    def context(self, source: BuildSource, options: BuildOptions, note: Note) -> Context:
        """Raise ``InvalidContext``, ``FetchFailed``, ``AddressRefused``, ``BuildFailed`` and its kinds."""
        target = self.room.directory / "context"
        if self.directory is not None:
            contexts.from_directory(self.directory, target)
            loaded = Loaded()
        else:
            loaded = self._load(source, target, note)
        directory = contexts.within(target, source.subdirectory)
        text = options.dockerfile_text if options.dockerfile_text is not None else loaded.dockerfile
        return contexts.opened(directory, options.dockerfile, text, loaded.revision)

    def named(self, wanted: dict[str, str], shown: Shown) -> dict[str, Path | str]:
        """By name: a directory, or the reference of an image. Each that is loaded is ``shown``."""
        found: dict[str, Path | str] = {}
        for name, text in wanted.items():
            if text.startswith("sha256:"):
                source = BuildSource("upload", upload=text)
            elif text.startswith(("http://", "https://")):
                source = BuildSource("git" if is_repository(text) else "url", url=text)
            else:
                found[name] = text.removeprefix(IMAGE)
                continue
            target = self.room.new_directory("named") / "files"
            with shown(f"[internal] load context {name}") as note:
                loaded = self._load(source, target, note)
            if loaded.dockerfile is not None:
                raise InvalidContext(f"The context {name} ({text[:200]}) is no archive and no repository")
            if source.kind == "upload":
                contexts.ignore_own(target)  # BuildKit reads it of folders, not of repositories and archives
            _, _, subdirectory = text.partition("#")[2].partition(":")
            found[name] = contexts.within(target, subdirectory)
        return found

    def _load(self, source: BuildSource, target: Path, note: Note) -> Loaded:
        """The files are at ``target``."""
        if source.kind == "upload" and source.upload:
            with self.open_upload(source.upload) as archive:
                contexts.from_archive(archive, target, self.limits, self.cancelled)
            return Loaded()
        if source.kind == "git" and source.url:
            return Loaded(replace(self.git, note=note).checkout(_repository(source), target))
        if source.kind == "url" and source.url:
            return self._load_url(source.url, target, note)
        if source.kind == "none":
            target.mkdir(mode=0o755)
            return Loaded()
        raise InvalidContext(f"A build source of kind {source.kind!r} needs what it names")

    def _load_url(self, url: str, target: Path, note: Note) -> Loaded:
        """As Docker: an archive is the context, a text is the Dockerfile of an empty one."""
        path = self.room.new_directory("remote") / "file"

        def report(done: int, total: int) -> None:
            note(shown_bytes(done, total))

        fetched = self.fetcher.fetch(url, None, path, report, self.cancelled)
        revision = f"sha256:{fetched.sha256}"
        try:
            with path.open("rb") as file:
                if kind_of(file) is not None:
                    contexts.from_archive(file, target, self.limits, self.cancelled)
                    return Loaded(revision)
            text = contexts.dockerfile_at(path, url)
        finally:
            path.unlink(missing_ok=True)
        target.mkdir(mode=0o755)
        return Loaded(revision, text)


def _repository(source: BuildSource) -> Repository:
    url, _, fragment = str(source.url).partition("#")
    ref, _, _ = fragment.partition(":")
    return Repository.of(url, ref=source.ref or ref, username=source.username, password=source.password)
