"""Builds: the command, its steps as they go, and the result."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from workers.messages.containers import Limits, ProjectSlice
from workers.messages.images import RegistryAccess

SSH_PREFIX = "ssh:"
_REPOSITORY = re.compile(r"git@|git://|ssh://|(https?://)?(github|gitlab)\.com/[^/]+/[^/]+/?$")


def is_repository(address: str) -> bool:
    """Whether a remote context is a git repository, as Docker tells it from a file: by its name.

    What follows a ``#`` says it as well, and two well-known hosts have nothing else at such a place.
    """
    bare, hash_, _ = address.partition("#")
    return bool(hash_) or bare.endswith(".git") or _REPOSITORY.match(bare) is not None


@dataclass(frozen=True)
class BuildSource:
    """Where the build context comes from."""

    kind: str = "none"
    """``upload`` (a tar or zip the agent took), ``git``, ``url`` (an archive or a Dockerfile, fetched by the
    node), or ``none``: only the Dockerfile's text."""
    upload: str | None = None
    """Digest of the archive."""
    url: str | None = None
    ref: str | None = None
    """Branch, tag or commit of the git repository; None: its default branch."""
    subdirectory: str | None = None
    username: str | None = None
    password: str | None = None
    """Secret: sealed on its way; never logged, never in an event."""


@dataclass(frozen=True)
class BuildOptions:
    """Every parameter of Docker's classic build, and those of BuildKit beyond it."""

    dockerfile: str = "Dockerfile"
    """Its path in the context."""
    dockerfile_text: str | None = None
    """In place of the file."""
    target: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    contexts: dict[str, str] = field(default_factory=dict)
    """Named contexts: an image reference, a URL (with its password, on its way) or an upload's digest."""
    tags: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    """Stages that do not use the cache."""
    pull: bool = False
    """Base images are asked for at their registry, even where the node has them."""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    platform: str | None = None
    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    """``name:address``, as in ``--add-host``."""
    shm_bytes: int | None = None
    ulimits: tuple[str, ...] = ()
    """``nofile=1024:2048``, as in ``--ulimit``."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Id to value. Secret: sealed on its way; never logged, never in an event.

    With ``SSH_PREFIX`` before the id private keys for an agent: steps sign with them and never read them.
    """
    output: str = "image"
    """``image``, ``tar`` (the final root filesystem as one upload) or ``files`` (the same, for a client
    that unpacks it)."""
    source_date_epoch: int | None = None
    checks: bool = True
    """Lint checks become warnings."""
    squash: bool = False
    """Refused by name: Docker's experimental switch."""


@dataclass(frozen=True)
class BuildImage:
    """Build an image for ``scope``. A job: its outcome is one of the events of jobs.

    Of the same ``build`` a higher ``attempt`` wins and a lower one is ignored.
    """

    job: str
    build: str
    attempt: int
    project: ProjectSlice
    scope: str
    source: BuildSource = field(default_factory=BuildSource)
    options: BuildOptions = field(default_factory=BuildOptions)
    limits: Limits = field(default_factory=lambda: Limits(memory_bytes=2 << 30))
    """Of the whole build, however many of its steps run at once."""
    timeout: float = 3600.0
    """Seconds for the whole build."""
    library_scope: str | None = None
    shared_scope: str | None = None
    """Scopes that may lend a base image: ``scope`` first, then the library, then this."""
    access: dict[str, RegistryAccess] = field(default_factory=dict)
    """Registry to how it is spoken to: host with port, without, ``*.example.org``, ``*`` for all others."""
    local_images: dict[str, str] = field(default_factory=dict)
    """Familiar reference to image id, of ``scope``."""
    library_images: dict[str, str] = field(default_factory=dict)

    output_max: int | None = None
    """Bytes a tar that was asked for may have."""

    def hidden(self) -> tuple[str, ...]:
        """Whatever must not be printed, as it may appear."""
        found = [*self.options.secrets.values(), self.source.password]
        found += [access.password for access in self.access.values()]
        for text in self.options.contexts.values():
            account, at, _ = (
                urlsplit(text).netloc.rpartition("@") if text.startswith("http") else ("", "", "")
            )
            if at:
                # Without a password the name is what opens it: tokens are written so.
                secret = account.partition(":")[2] or account
                found += [secret, unquote(secret)]
        return tuple(dict.fromkeys(each for each in found if each))

    def access_to(self, host: str) -> RegistryAccess:
        """The entry that says most of ``host``."""
        bare = re.sub(r":[0-9]+$", "", host)
        labels = bare.split(".")
        above = (f"*.{'.'.join(labels[place:])}" for place in range(1, len(labels)))
        for name in (host, bare, *above, "*"):
            if name in self.access:
                return self.access[name]
        return RegistryAccess()


@dataclass(frozen=True)
class DropBuild:
    """Nothing of the build is left on the node: its log goes; a running attempt is ended."""

    build: str


@dataclass(frozen=True)
class PruneBuildCache:
    """Forget what is kept for the next builds of ``scope``, but for what a running one uses. A job."""

    job: str
    scope: str


@dataclass(frozen=True)
class StepFacts:
    """A line of a build's record."""

    id: int
    stage: str
    name: str
    """``[web 3/7] RUN apt-get update``."""
    state: str
    """``waiting running cached done failed cancelled skipped``."""
    started_at: float | None = None
    ended_at: float | None = None
    reason: str = ""
    """Why it missed the cache, or failed."""
    progress: str = ""
    """``12.3 MB of 40 MB``."""


@dataclass(frozen=True)
class BuildProgressed:
    """The steps that changed since the last of these, about twice a second."""

    job: str
    build: str
    attempt: int
    steps: tuple[StepFacts, ...]
    total: int = 0
    """How many there are by now."""
    fresh: bool = False
    """The first of a run: steps told of before are no more."""


@dataclass(frozen=True)
class BuildFinished:
    """The result of a build, after ``ImageImported`` where there is an image."""

    job: str
    build: str
    attempt: int
    image_id: str | None = None
    manifest_digest: str | None = None
    output: str | None = None
    """Digest of the upload that holds the tar asked for."""
    output_size: int = 0
    warnings: tuple[str, ...] = ()
    provenance: str = ""
    """An in-toto statement with SLSA provenance, as JSON."""


@dataclass(frozen=True)
class BuildDropped:
    """Nothing of the build is left on the node."""

    build: str
