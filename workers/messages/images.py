"""Messages about images."""

from __future__ import annotations

from dataclasses import dataclass, field

# --------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class LayerFacts:
    digest: str
    """Of the blob as it came (compressed or not)."""
    diff_id: str
    size: int
    """Of the blob as it came."""
    unpacked_size: int


@dataclass(frozen=True)
class RegistryAccess:
    """How to speak to the registry of a reference."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    """Secret: sealed on its way, never logged, in no event."""
    plain_http: bool = False
    """For loopback, and where the administrator says so."""
    mirrors: tuple[str, ...] = ()
    """Base URLs tried first; for pulls only, and without the credentials."""
    allow_private: bool = False
    """Private, loopback and link-local addresses may be connected to."""
    denied: bool = False
    """The administrator lets nothing come from or go there."""


@dataclass(frozen=True)
class Origin:
    """Where an image was pulled from."""

    reference: str
    """As pulled."""
    digest: str
    """Of the manifest for the platform chosen."""
    index_digest: str | None = None
    """Of the index, if the tag named one."""
    cached: bool = False
    """Nothing was fetched."""
    stale: str | None = None
    """Why upstream was not asked, or what it said, when the fallback was used."""


@dataclass(frozen=True)
class LayerProgress:
    digest: str
    """The layer's digest in a pull, its diffID in a push."""
    state: str
    """waiting downloading unpacking compressing uploading exists mounted done"""
    done: int = 0
    total: int = 0


# --------------------------------------------------------------------------- commands (down)


@dataclass(frozen=True)
class ImportImage:
    """Import the archive the agent took as ``upload`` (its sha256 digest) into ``scope``'s store."""

    job: str
    scope: str
    upload: str
    repository: str | None = None
    """Name for a plain rootfs tar, or in place of the names in the archive."""
    tag: str | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BakeImage:
    """Make an image from the distribution's packages by a named recipe."""

    job: str
    scope: str
    recipe: str
    repository: str
    tag: str
    base: str | None = None
    """Of a program: id of the image it is installed on, which ``scope`` holds; None: made first."""


@dataclass(frozen=True)
class RemoveImage:
    """Withdraw ``scope``'s grant of ``image_id``; the sweep frees layers nobody grants."""

    job: str
    scope: str
    image_id: str


@dataclass(frozen=True)
class PullImage:
    """Fetch an image from a registry into ``scope``'s store; answered by ``ImageImported``."""

    job: str
    scope: str
    reference: str
    """Registry, repository, and tag or digest: ``str(Reference)``."""
    names: tuple[str, ...] = ()
    """Local names to give, in the familiar form; none: as the reference."""
    platform: str | None = None
    """``linux/amd64``; None: the node's."""
    access: RegistryAccess = RegistryAccess()
    shared_scope: str | None = None
    """The cache: its grants may be used, and what is pulled without credentials is granted to it too."""
    known_digest: str | None = None
    """Manifest digest the platform knows for this tag: granted to the cache, upstream is not asked."""
    fallback_digest: str | None = None
    """With upstream out of reach or rate limited: the cache's image to use, which ``stale`` then explains."""


@dataclass(frozen=True)
class PushImage:
    """Copy an image of ``scope`` to a registry; answered by ``ImagePushed``."""

    job: str
    scope: str
    image_id: str
    reference: str
    """The target."""
    access: RegistryAccess = RegistryAccess()
    compression: str = "gzip"
    """Of layers that never left the node so: ``gzip`` or ``zstd``."""
    provenance: str = ""
    """The statement of the build that made it, put in when the command is sent; empty for none."""


# --------------------------------------------------------------------------- events (up)


@dataclass(frozen=True)
class ImageImported:
    """An image the node now grants to ``scope``. ``config`` is the exact OCI config JSON text."""

    job: str
    scope: str
    image_id: str
    manifest_digest: str
    config: str
    layers: tuple[LayerFacts, ...]
    references: tuple[str, ...]
    """``name:tag`` as asked or as the archive names it; may be empty (dangling)."""
    origin: Origin | None = None
    """Of a pulled image."""


@dataclass(frozen=True)
class ImageRemoved:
    job: str
    scope: str
    image_id: str


@dataclass(frozen=True)
class LayersProgressed:
    """How far a pull or push is: the whole list, at most twice a second."""

    job: str
    layers: tuple[LayerProgress, ...]


@dataclass(frozen=True)
class ImagePushed:
    """The registry has the image. ``existed``, ``mounted``, ``uploaded`` count layers."""

    job: str
    scope: str
    image_id: str
    reference: str
    manifest_digest: str
    size: int
    existed: int
    mounted: int
    uploaded: int
