"""Pulling: a reference of any registry becomes an image of a scope.

A layer that the scope, or the cache it may use, was granted under the same digest is not fetched again:
those bytes went through here for one of them. What a manifest names beyond that must come from the registry,
however many others on this node have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from workers.engine import images, layouts
from workers.engine import layers as layer_store
from workers.engine.images import Image, ImageStore
from workers.engine.kernel import MAX_LOWERS
from workers.engine.layers import Budget, Unpacked
from workers.engine.transfer import access as doors
from workers.engine.transfer.boards import UNWATCHED, Board, Watcher, apart, side_by_side
from workers.engine.transfer.connections import PATIENCE, Client, Patience
from workers.engine.transfer.downloads import Download
from workers.engine.transfer.registry import Repository, Served
from workers.errors import (
    DigestMismatch,
    InvalidManifest,
    NoSuchImage,
    RegistryLimited,
    RegistryUnreachable,
    SlipwayError,
)
from workers.messages import LayerFacts, LayerProgress, Origin, RegistryAccess
from workers.oci.config import ImageConfig, parse_config
from workers.oci.descriptor import Descriptor, Platform
from workers.oci.digest import Digest
from workers.oci.manifest import Manifest, choose, parse_manifest, require_image
from workers.oci.reference import Reference

_MAX_CONFIG = 4 << 20
_MAX_DEPTH = 3


@dataclass(frozen=True)
class Wanted:
    """What to pull, and what may be used in its place (``workers.messages.PullImage``)."""

    reference: Reference
    platform: Platform
    access: RegistryAccess = field(default_factory=RegistryAccess)
    shared_scope: str | None = None
    known_digest: str | None = None
    fallback_digest: str | None = None


@dataclass(frozen=True)
class Pulled:
    image: Image
    origin: Origin
    warnings: tuple[str, ...] = ()
    """For people."""


def pull(
    store: ImageStore,
    scope: str,
    wanted: Wanted,
    *,
    watcher: Watcher = UNWATCHED,
    patience: Patience = PATIENCE,
) -> Pulled:
    """``scope`` has the image, durably. Safe to repeat; whatever is raised leaves nothing behind.

    Raise ``RegistryNotAllowed``, ``RegistryError`` and its kinds, ``RegistryDenied``, ``NoSuchManifest``,
    ``AddressRefused``, ``InvalidManifest``, ``InvalidArchive``, ``DigestMismatch``, ``NoSpace``, and what
    ``watcher`` raises.
    """
    doors.require_allowed(wanted.reference, wanted.access)
    with layer_store.lease(store.places, watcher.say):
        known = _in_cache(store, wanted, wanted.known_digest)
        if known is not None:
            return _adopted(store, scope, wanted, known, watcher)
        with doors.opened(wanted.access, patience) as client:
            try:
                return _Pull(store, scope, wanted, client, watcher).run()
            except (RegistryUnreachable, RegistryLimited) as error:
                fallback = _in_cache(store, wanted, wanted.fallback_digest)
                if fallback is None:
                    raise
                return _adopted(store, scope, wanted, fallback, watcher, stale=error.message)


def _in_cache(store: ImageStore, wanted: Wanted, digest: str | None) -> Image | None:
    if wanted.shared_scope is None or digest is None:
        return None
    return images.find(store, wanted.shared_scope, digest, wanted.platform)


def _adopted(
    store: ImageStore, scope: str, wanted: Wanted, image: Image, watcher: Watcher, stale: str | None = None
) -> Pulled:
    """``scope`` gets what it, or the cache, has already; of every layer is told that it is there."""
    there = {each.digest: LayerProgress(each.digest, "exists", each.size, each.size) for each in image.layers}
    watcher.layers(tuple(there.values()))
    images.grant(store, scope, image)
    if wanted.shared_scope is not None:
        images.touch(store, wanted.shared_scope, image.image_id)
    origin = Origin(
        str(wanted.reference), image.manifest_digest, image.index_digest, cached=True, stale=stale
    )
    return Pulled(image, origin)


@dataclass(frozen=True)
class _Resolved:
    text: bytes
    manifest: Manifest
    index_digest: Digest | None
    repositories: list[Repository]
    """Who may be asked for its blobs, in this order."""


@dataclass(frozen=True)
class _Layer:
    position: int
    """On the board."""
    blob: Descriptor
    claimed: Digest


class _Pull:
    def __init__(
        self, store: ImageStore, scope: str, wanted: Wanted, client: Client, watcher: Watcher
    ) -> None:
        self._store, self._scope, self._wanted = store, scope, wanted
        self._client, self._watcher = client, watcher
        self._board = Board(watcher, f"Pulling {wanted.reference.familiar}")
        self._budget = Budget(store.limits.unpacked_bytes)
        self._unpacked: list[Unpacked] = []

    def run(self) -> Pulled:
        reference = self._wanted.reference
        if reference.digest is not None and (held := self._held(reference.digest)) is not None:
            return _adopted(self._store, self._scope, self._wanted, held, self._watcher)
        found = apart(self._client, self._board, self._resolve)
        if isinstance(found, Image):
            return _adopted(self._store, self._scope, self._wanted, found, self._watcher)
        self._check(found.manifest)
        config_text = apart(self._client, self._board, lambda: self._config_text(found))
        config = parse_config(config_text)
        _require_runnable(config, found.manifest)
        with images.discarding(self._unpacked):
            return self._take_in(found, config_text, config)

    # ------------------------------------------------------------------ documents

    def _resolve(self) -> _Resolved | Image:
        """From whoever has it first: mirrors, then the registry itself."""
        wanted = self._wanted
        upstream = doors.repository(self._client, wanted.reference, wanted.access)
        candidates = [*doors.mirrors(self._client, wanted.reference, wanted.access), upstream]
        for position, candidate in enumerate(candidates):
            try:
                return self._resolve_at(candidate, candidates[position:])
            except SlipwayError:
                if candidate is upstream:
                    raise
        raise AssertionError("unreachable")

    def _resolve_at(self, repository: Repository, repositories: list[Repository]) -> _Resolved | Image:
        reference = self._wanted.reference
        if reference.digest is None:
            # Asking for the digest alone counts towards nobody's limit.
            digest = repository.find_digest(reference)
            if digest is not None:
                held = self._held(digest)
                if held is not None:
                    return held
                reference = replace(reference, digest=digest)
        served = repository.get_manifest(reference)
        index_digest: Digest | None = None
        for _ in range(_MAX_DEPTH):
            document = parse_manifest(served.text)
            if isinstance(document, Manifest):
                return _Resolved(served.text, document, index_digest, repositories)
            index_digest = index_digest or served.digest
            chosen = choose(document, self._wanted.platform)
            served = self._inner(repository, chosen)
        raise InvalidManifest(f"Indexes are nested more than {_MAX_DEPTH} deep")

    def _inner(self, repository: Repository, chosen: Descriptor) -> Served:
        served = repository.get_manifest(replace(self._wanted.reference, tag=None, digest=chosen.digest))
        if len(served.text) != chosen.size:
            raise InvalidManifest(f"The manifest {chosen.digest} has another size than its index says")
        return served

    def _held(self, digest: Digest) -> Image | None:
        """What the scope, or the cache, has under the digest of a manifest or index."""
        for scope in self._lenders():
            image = images.find(self._store, scope, str(digest), self._wanted.platform)
            if image is not None:
                present = (layer_store.is_present(self._store.places, each.diff_id) for each in image.layers)
                return image if all(present) else None
        return None

    def _lenders(self) -> list[str]:
        shared = self._wanted.shared_scope
        return [self._scope] if shared is None else [self._scope, shared]

    def _check(self, manifest: Manifest) -> None:
        require_image(manifest)
        if len(manifest.layers) > MAX_LOWERS:
            raise InvalidManifest(
                f"The image has {len(manifest.layers)} layers; at most {MAX_LOWERS} can be mounted"
            )
        limit = self._store.limits.unpacked_bytes
        if sum(layer.size for layer in manifest.layers) > limit:
            raise InvalidManifest(f"The image's layers have more than {limit} bytes", limit=limit)

    def _config_text(self, found: _Resolved) -> bytes:
        descriptor = found.manifest.config
        for scope in self._lenders():
            try:
                return images.get(self._store, scope, str(descriptor.digest)).config_text.encode()
            except NoSuchImage:
                continue
        for repository in found.repositories[:-1]:
            try:
                return repository.get_blob(descriptor.digest, _MAX_CONFIG)
            except SlipwayError:
                continue  # a mirror need not have everything
        return found.repositories[-1].get_blob(descriptor.digest, _MAX_CONFIG)

    # ------------------------------------------------------------------ layers

    def _take_in(self, found: _Resolved, config_text: bytes, config: ImageConfig) -> Pulled:
        shared = self._wanted.shared_scope
        public = _layers_of(self._store, shared) if shared is not None else {}
        own = _layers_of(self._store, self._scope)
        facts: dict[tuple[Digest, Digest], LayerFacts] = {}
        missing: list[_Layer] = []
        is_public = self._wanted.access.username is None
        for blob, claimed in dict.fromkeys(_pairs(found.manifest, config)):
            position = self._board.add(str(blob[0]), blob[1])
            known = public.get(str(blob[0])) or own.get(str(blob[0]))
            if known is None or not layer_store.is_present(self._store.places, known.diff_id):
                missing.append(_Layer(position, Descriptor("", blob[0], blob[1]), claimed))
                continue
            _require_same(known, claimed)
            # What only the scope itself has brought stays its own.
            is_public = is_public and str(blob[0]) in public
            facts[(blob[0], claimed)] = known
            self._board.set(position, "exists")
        fetched = side_by_side(self._client, self._board, lambda each: self._fetch(found, each), missing)
        for layer, unpacked in zip(missing, fetched, strict=True):
            facts[(layer.blob.digest, layer.claimed)] = unpacked.facts
        self._watcher.check()
        layers = tuple(facts[(blob[0], claimed)] for blob, claimed in _pairs(found.manifest, config))
        scopes = [self._scope, shared] if shared is not None and is_public else [self._scope]
        return self._keep(found, config_text, layers, scopes)

    def _fetch(self, found: _Resolved, layer: _Layer) -> Unpacked:
        board, position = self._board, layer.position
        size = layer.blob.size

        def seen(done: int) -> None:
            board.set(position, "downloading" if done < size else "unpacking", done)

        board.set(position, "downloading", 0)
        download = Download(found.repositories, layer.blob, seen)
        try:
            unpacked = layer_store.unpack(
                self._store.places,
                cast(BinaryIO, download),  # one in all but its type
                expected=layer.blob.digest,
                claimed=layer.claimed,
                limits=self._store.limits,
                budget=self._budget,
            )
        finally:
            download.close()
        self._unpacked.append(unpacked)
        board.set(position, "done")
        return unpacked

    def _keep(
        self, found: _Resolved, config_text: bytes, layers: tuple[LayerFacts, ...], scopes: Sequence[str]
    ) -> Pulled:
        self._board.show(now=True)
        self._watcher.say("Writing to disk", 0, 0)
        image = images.image_of(found.manifest.config.digest, found.text, config_text, layers)
        index_digest = str(found.index_digest) if found.index_digest is not None else None
        reference = self._wanted.reference
        image = replace(image, index_digest=index_digest, sources=(reference.name,))
        images.keep(self._store, scopes, image, self._unpacked)
        origin = Origin(str(reference), image.manifest_digest, index_digest)
        return Pulled(image, origin, _warnings(image, self._unpacked))


Pair = tuple[tuple[Digest, int], Digest]
"""A layer's digest and size as the manifest has them, its diffID as the config claims it."""


def _pairs(manifest: Manifest, config: ImageConfig) -> list[Pair]:
    layers = ((layer.digest, layer.size) for layer in manifest.layers)
    return list(zip(layers, config.diff_ids, strict=True))


def _layers_of(store: ImageStore, scope: str) -> dict[str, LayerFacts]:
    return {layer.digest: layer for image in images.granted(store, scope) for layer in image.layers}


def _require_same(known: LayerFacts, claimed: Digest) -> None:
    if known.diff_id != str(claimed):
        raise DigestMismatch(
            f"Layer {known.digest} unpacks to {known.diff_id}, not to {claimed} as the image's config claims",
            layer=known.digest,
            expected=str(claimed),
            actual=known.diff_id,
        )


def _require_runnable(config: ImageConfig, manifest: Manifest) -> None:
    if config.platform.os != "linux":
        raise InvalidManifest(f"The image is for {config.platform}; only Linux images run here")
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidManifest(
            f"The image has {len(manifest.layers)} layers, "
            f"but its config lists {len(config.diff_ids)} diff_ids"
        )


def _warnings(image: Image, unpacked: Sequence[Unpacked]) -> tuple[str, ...]:
    names = [name for layer in unpacked for name in layer.skipped]
    found = [f"Device nodes were left out: {', '.join(names[:20])}"] if names else []
    host = layouts.host_platform()
    if image.config.platform.architecture != host.architecture:
        found.append(f"The image is for {image.config.platform}, this node is {host}: it may not start")
    return tuple(found)
