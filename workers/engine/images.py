"""Images of a node: which scope (a project, the library) may use which stack of layers.

A *grant* is the only thing that gives a scope a layer. It is written after every byte of every layer went
through here for that scope, or for one it may use (its own, ``UPSTREAM``). ``diff_ids`` in a config and
digests in a manifest give nothing.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workers import crash
from workers.content import sync_directory, write_durably
from workers.engine import layers as layer_store
from workers.engine import snapshots
from workers.engine.build.cache import cached_layers
from workers.engine.kernel import Kernel
from workers.engine.layers import ArchiveLimits, Unpacked
from workers.engine.places import Places
from workers.engine.trees import remove_tree
from workers.errors import NodeError, NoSuchImage
from workers.messages import LayerFacts
from workers.oci.config import ImageConfig, parse_config
from workers.oci.descriptor import Platform
from workers.oci.digest import Digest
from workers.oci.manifest import fits

UPSTREAM = "upstream"
"""The scope of images that anybody could fetch from where they came from: no project's, for all of them."""

UNUSED_FOR = 30 * 24 * 3600.0
"""Seconds after which an image of ``UPSTREAM`` that nobody asked for is given up."""

_SOURCES = 8


@dataclass(frozen=True)
class ImageStore:
    places: Places
    kernel: Kernel
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)


@dataclass(frozen=True)
class Image:
    image_id: str
    manifest_digest: str
    manifest: str
    """The exact text, as a registry would serve it."""
    config_text: str
    config: ImageConfig
    layers: tuple[LayerFacts, ...]
    """Bottom first."""
    index_digest: str | None = None
    """Of the index it was chosen from."""
    sources: tuple[str, ...] = ()
    """Repositories (``registry/name``) seen to have its layers, the latest first."""


@dataclass(frozen=True)
class Swept:
    layers: tuple[str, ...] = ()
    """diffIDs that were (or, in a dry run, would be) removed."""
    rubbish: int = 0
    """Directories left by imports that were cut off."""
    busy: bool = False
    """Nothing was done: layers are being worked with. Try again later."""


def get(store: ImageStore, scope: str, image_id: str) -> Image:
    """Raise ``NoSuchImage`` unless ``scope`` was granted the image."""
    try:
        return _read(store.places.grant(scope, str(Digest.parse(image_id))), image_id)
    except FileNotFoundError:
        raise NoSuchImage(f"No such image: {image_id}", image=image_id, scope=scope) from None


def image_ids(store: ImageStore, scope: str) -> tuple[str, ...]:
    """What ``scope`` was granted."""
    return tuple(sorted(image.image_id for image in granted(store, scope)))


def granted(store: ImageStore, scope: str) -> Iterator[Image]:
    """Every image of ``scope``."""
    for path in store.places.grants(scope).glob("*.json"):
        with suppress(FileNotFoundError):  # withdrawn meanwhile
            yield _read(path, path.stem)


def find(store: ImageStore, scope: str, digest: str, platform: Platform) -> Image | None:
    """The image of ``scope`` for ``platform`` whose manifest has ``digest``, or the index it is from."""
    for image in granted(store, scope):
        if digest in (image.manifest_digest, image.index_digest) and fits(image.config.platform, platform):
            return image
    return None


def touch(store: ImageStore, scope: str, image_id: str) -> None:
    """Somebody had a use for the image."""
    with suppress(FileNotFoundError):
        os.utime(store.places.grant(scope, image_id))


def give_up_unused(store: ImageStore, now: float) -> tuple[str, ...]:
    """Withdraw what of ``UPSTREAM`` nobody had a use for in ``UNUSED_FOR``; projects keep what they have."""
    old = tuple(
        image.image_id
        for image in granted(store, UPSTREAM)
        if store.places.grant(UPSTREAM, image.image_id).stat().st_mtime < now - UNUSED_FOR
    )
    for image_id in old:
        withdraw(store, UPSTREAM, image_id)
    return old


def grant(store: ImageStore, scope: str, image: Image) -> None:
    """Durable on return; repeatable. The caller holds a lease and has kept every layer."""
    path = store.places.grant(scope, image.image_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    body = {
        "image_id": image.image_id,
        "manifest_digest": image.manifest_digest,
        "manifest": image.manifest,
        "config": image.config_text,
        "layers": [asdict(layer) for layer in image.layers],
        "index_digest": image.index_digest,
        "sources": list(dict.fromkeys(image.sources))[:_SOURCES],
    }
    write_durably(path, json.dumps(body).encode())


def withdraw(store: ImageStore, scope: str, image_id: str) -> None:
    """``scope`` has the image no longer; containers made from it keep its layers. Repeatable.

    ``sweep`` frees the disk.
    """
    path = store.places.grant(scope, str(Digest.parse(image_id)))
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_directory(path.parent)


def withdraw_all(store: ImageStore, scope: str) -> None:
    """As ``withdraw``, each image of ``scope``."""
    for image in granted(store, scope):
        withdraw(store, scope, image.image_id)
    with suppress(FileNotFoundError):
        store.places.grants(scope).rmdir()


def sweep(store: ImageStore, *, dry_run: bool = False) -> Swept:
    """Remove the layers that neither a grant nor a snapshot names, and what broken-off imports left.

    Does nothing while somebody works with layers; names are taken away before anything is removed,
    so a layer that has its name is whole.
    """
    places = store.places
    with layer_store.sweeping(places) as alone:
        if not alone:
            return Swept(busy=True)
        doomed = sorted(_present(places) - _used(places))
        rubbish = list(places.layer_ingest.iterdir())
        if dry_run:
            return Swept(tuple(doomed), len(rubbish))
        nameless = [_nameless(places, places.layer(diff_id)) for diff_id in doomed]
        # Those of layers that are gone, just now or by a sweep that was cut off here.
        idle = sorted(_named(places.all_layer_notes) - _present(places))
        nameless += [_nameless(places, places.layer_notes(diff_id)) for diff_id in idle]
    for directory in (*rubbish, *nameless):  # slow, and nobody needs to wait for it
        remove_tree(directory)
    return Swept(tuple(doomed), len(rubbish))


def _nameless(places: Places, directory: Path) -> Path:
    aside = places.layer_ingest / secrets.token_hex(16)
    directory.rename(aside)
    return aside


def _present(places: Places) -> set[str]:
    return _named(places.layers)


def _named(parent: Path) -> set[str]:
    return {
        f"{algorithm}:{directory.name}"
        for algorithm in ("sha256", "sha512")
        if (parent / algorithm).is_dir()
        for directory in (parent / algorithm).iterdir()
    }


def _used(places: Places) -> set[str]:
    used: set[str] = set()
    for path in places.images.glob("*/*.json"):
        used.update(layer.diff_id for layer in _read(path, path.stem).layers)
    for directory in places.snapshots.iterdir():
        # A note torn by a power cut spares nothing: its container cannot run before it is written anew,
        # and that needs the grant.
        used.update(snapshots.noted(places, directory.name) or ())
    return used | cached_layers(places)


def _read(path: Path, image_id: str) -> Image:
    data = path.read_bytes()
    try:
        body = json.loads(data)
        return Image(
            str(body["image_id"]),
            str(body["manifest_digest"]),
            str(body["manifest"]),
            str(body["config"]),
            parse_config(body["config"]),
            tuple(LayerFacts(**layer) for layer in body["layers"]),
            body.get("index_digest"),
            tuple(body.get("sources", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"The grant {path} is damaged; import the image {image_id} again", path=str(path)
        ) from error


# --------------------------------------------------------------------------- taking in


def image_of(image_id: Digest, manifest: bytes, config: bytes, layers: tuple[LayerFacts, ...]) -> Image:
    digest = str(Digest.of(manifest))
    return Image(str(image_id), digest, manifest.decode(), config.decode(), parse_config(config), layers)


def keep(store: ImageStore, scopes: Sequence[str], image: Image, unpacked: Sequence[Unpacked]) -> None:
    """Bytes before names, names before the grants: after a power cut, what can be named is whole."""
    crash.point("import.before_names")
    if unpacked:
        store.kernel.sync_filesystem(store.places.layers)
    for layer in unpacked:
        layer_store.keep(store.places, layer)
    crash.point("import.before_grant")
    for scope in scopes:
        grant(store, scope, image)
    crash.point("import.after_grant")


@contextmanager
def discarding(unpacked: list[Unpacked]) -> Iterator[None]:
    """Whatever of ``unpacked`` has no name at the end is removed."""
    try:
        yield
    finally:
        for layer in unpacked:
            layer_store.discard(layer)
