"""The steps of a build and where their files come from, as data; see ``graph``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workers.engine.build.defaults import RunDefaults
from workers.engine.dockerfile.locations import Location

CONTEXT = "context"
"""Name of the build context; people's named contexts cannot be called so."""

# --------------------------------------------------------------------------- where files come from


@dataclass(frozen=True)
class ContextRoot:
    """A named context of kind ``files``, or the build context (``CONTEXT``)."""

    name: str = CONTEXT


@dataclass(frozen=True)
class StageRoot:
    """The filesystem of another stage when all its steps are done."""

    stage: int
    """``StagePlan.index``."""


@dataclass(frozen=True)
class ImageRoot:
    """The filesystem of an image."""

    reference: str
    platform: str
    image_id: str | None = None
    """Known of a stage's base, which was resolved for its config; else the solver resolves it."""


@dataclass(frozen=True)
class ScratchRoot:
    """Nothing."""


Root = ContextRoot | StageRoot | ImageRoot | ScratchRoot

# --------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class Step:
    """A step of a stage; by itself one that changes only the config."""

    location: Location
    """Of an ONBUILD trigger: the FROM that brought it."""
    instruction: str
    """RUN, COPY, …"""
    name: str
    """``[web 3/7] RUN apt-get update``; of a config-only step without the bracket."""
    created_by: str
    """The history entry's, as BuildKit writes it. Empty: the step makes no entry (ONBUILD)."""
    empty_layer: bool
    """True: it never writes a file. A step that may write has a layer, even if it wrote nothing."""
    defaults: RunDefaults
    """After this step."""
    on_build: bool = False
    no_cache: bool = False
    """The step is to be run whatever the cache has."""

    @property
    def needs(self) -> tuple[int, ...]:
        """Indices of the stages whose files it reads, each once, in order."""
        return stages_of(self.roots)

    @property
    def roots(self) -> tuple[Root, ...]:
        return ()

    @property
    def key(self) -> dict[str, Any]:
        """What of the instruction itself decides its result, in JSON's types; see the module.

        Not in it: parents, content of sources, values of secrets, proxies, locations and names.
        """
        return {"step": "config"}


@dataclass(frozen=True)
class WorkdirStep(Step):
    """Make ``path`` and its missing parents, mode 0755, owned by ``user``; nothing where it is."""

    path: str = "/"
    user: str = ""
    """As in the config: name or number, with ``:group`` if need be. Empty: root."""

    @property
    def key(self) -> dict[str, Any]:
        return {"step": "workdir", "path": self.path, "user": self.user}


@dataclass(frozen=True)
class BindMount:
    target: str
    root: Root
    source: str = "/"
    """Path in ``root``, from ``/``; a directory or a file."""
    read_only: bool = True
    """False: writes go to a copy that is thrown away after the step."""


@dataclass(frozen=True)
class CacheMount:
    """A directory that stays from build to build, beside the cache of steps."""

    target: str
    id: str
    sharing: str = "shared"
    """shared, private (a second writer gets its own) or locked (a second writer waits)."""
    root: Root = ScratchRoot()
    """What it begins with."""
    source: str = "/"
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class TmpfsMount:
    target: str
    size: int | None = None
    """Bytes; None: the node's choice."""


@dataclass(frozen=True)
class SecretMount:
    """A file with the secret's value, or a variable, or both; never in a layer or a key."""

    id: str
    target: str | None
    """None: only the variable."""
    env: str | None = None
    required: bool = False
    """False: without the secret there is no file and no variable."""
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class SshMount:
    """The agent socket of ``id``, named by SSH_AUTH_SOCK."""

    id: str
    target: str
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


Mount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


@dataclass(frozen=True)
class InlineFile:
    name: str
    data: str
    mode: int = 0o644


@dataclass(frozen=True)
class RunStep(Step):
    """Run ``argv`` as ``user`` in ``working_dir``; what it writes is the layer."""

    argv: tuple[str, ...] = ()
    """The shell form already with its shell before it; no shell is to be added."""
    env: tuple[str, ...] = ()
    """Complete: the config's variables and, over them, the build arguments declared so far."""
    proxy_env: tuple[str, ...] = ()
    """To be set beside ``env``; not in the key, never in the image."""
    arguments: tuple[str, ...] = ()
    """Names of the build arguments in ``env``."""
    working_dir: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    """In the order they are to be made; later ones may lie in earlier ones."""
    script: InlineFile | None = None
    """A heredoc beginning with ``#!``: to be mounted read-only as ``/dev/pipes/<name>``."""
    network: str = "default"
    security: str = "sandbox"
    """sandbox, or insecure, which needs the node's leave."""
    devices: tuple[str, ...] = ()
    """CDI names, as ``--device`` has them."""
    extra_hosts: tuple[str, ...] = ()
    shm_bytes: int | None = None
    ulimits: tuple[str, ...] = ()
    hostname: str = ""

    @property
    def roots(self) -> tuple[Root, ...]:
        return tuple(mount.root for mount in self.mounts if isinstance(mount, BindMount | CacheMount))

    @property
    def key(self) -> dict[str, Any]:
        """All declared build arguments count as used: the program may read any variable."""
        return {
            "step": "run",
            "argv": list(self.argv),
            "env": sorted(self.env),
            "working_dir": self.working_dir,
            "user": self.user,
            "mounts": [_mount_key(mount) for mount in self.mounts],
            "script": None if self.script is None else [self.script.name, self.script.data],
            "network": self.network,
            "security": self.security,
            "devices": list(self.devices),
            "extra_hosts": list(self.extra_hosts),
            "hostname": self.hostname,
        }


@dataclass(frozen=True)
class PathSource:
    """Files below ``root``."""

    root: Root
    path: str
    """From ``/``, without ``.`` and ``..``. Wildcards (``*``, ``?``, ``[``, escaped with a
    backslash) are the solver's to expand, as Go's ``filepath.Match`` has them (with
    ``CopyStep.parents`` as .dockerignore has them: ``**`` is any depth); no match is an
    error unless ``wildcards``. A directory stands for what is in it. The last symbolic link is
    followed within the root."""
    wildcards: bool = False
    pivot: str = "/"
    """With ``CopyStep.parents``: names below this directory are kept at the destination; ``path``
    begins with it."""


@dataclass(frozen=True)
class UrlSource:
    url: str
    filename: str
    """The name it gets in a destination that is a directory; ``__unnamed__`` if the URL has none."""
    checksum: str | None = None


@dataclass(frozen=True)
class GitSource:
    remote: str
    ref: str = ""
    """Branch, tag or commit; empty: the remote's HEAD."""
    subdirectory: str = ""
    keep_git_dir: bool = False
    checksum: str | None = None
    """The commit it must be, full or the beginning."""
    submodules: bool = True


@dataclass(frozen=True)
class InlineSource:
    """A heredoc."""

    file: InlineFile


CopySource = PathSource | UrlSource | GitSource | InlineSource


@dataclass(frozen=True)
class CopyStep(Step):
    """COPY and ADD: put each source, in order, at ``destination``; missing parents are made."""

    sources: tuple[CopySource, ...] = ()
    destination: str = "/"
    """Absolute. With a slash at its end, or with several sources, it is a directory."""
    chown: str | None = None
    """``user[:group]``, names looked up in the stage's files. None: files of a stage or an image keep
    their owner, all others are root's."""
    chmod: str | None = None
    """Octal, or symbolic (``u=rwX,go=rX``). None: as the source's; a URL's file has 0600."""
    link: bool = False
    """The layer may be made without looking at the parent (and stays valid when that changes)."""
    parents: bool = False
    """``PathSource``s keep their directories."""
    exclude: tuple[str, ...] = ()
    """Patterns in the form of .dockerignore, matched against paths below the source; with
    ``parents`` below its pivot or the root."""
    unpack: bool | None = None
    """Whether archives are unpacked. None: the instruction's own way: ADD unpacks local tars
    (plain or compressed), not those of a URL; COPY none."""

    @property
    def roots(self) -> tuple[Root, ...]:
        return tuple(source.root for source in self.sources if isinstance(source, PathSource))

    @property
    def key(self) -> dict[str, Any]:
        return {
            "step": self.instruction.lower(),
            "sources": [_source_key(source) for source in self.sources],
            "destination": self.destination,
            "chown": self.chown,
            "chmod": self.chmod,
            "link": self.link,
            "parents": self.parents,
            "exclude": list(self.exclude),
            "unpack": self.unpack,
        }


def stages_of(roots: tuple[Root, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(root.stage for root in roots if isinstance(root, StageRoot)))


def _mount_key(mount: Mount) -> list[Any]:
    """Roots are not in it: the solver adds the content they stand for (of a cache mount: nothing)."""
    match mount:
        case BindMount():
            return ["bind", mount.target, mount.source, mount.read_only]
        case CacheMount():
            return ["cache", mount.target, mount.id, mount.sharing, mount.source, mount.read_only]
        case TmpfsMount():
            return ["tmpfs", mount.target, mount.size]
        case SecretMount():
            return ["secret", mount.target, mount.id, mount.env, mount.mode, mount.uid, mount.gid]
        case SshMount():
            return ["ssh", mount.target, mount.id, mount.mode, mount.uid, mount.gid]


def _source_key(source: CopySource) -> list[Any]:
    match source:
        case PathSource():
            return ["path", source.path, source.pivot]
        case UrlSource():
            return ["url", source.url, source.filename, source.checksum]
        case GitSource():
            return ["git", source.remote, source.subdirectory, source.keep_git_dir, source.submodules]
        case InlineSource():
            return ["inline", source.file.name, source.file.data, source.file.mode]
