"""Pushing: an image of a scope is copied to a registry, which is asked first what it has of it.

Nodes keep layers, not blobs. What a layer compressed to is noted with the layer, so that the next push only
asks; when it must go out again it is compressed again.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from workers.engine import changesets, images
from workers.engine import layers as layer_store
from workers.engine.images import Image, ImageStore
from workers.engine.transfer import access as doors
from workers.engine.transfer import compressions, referrers, statements
from workers.engine.transfer.ahead import made_ahead
from workers.engine.transfer.boards import UNWATCHED, Board, Watcher, apart, side_by_side
from workers.engine.transfer.connections import PATIENCE, Client, Patience
from workers.engine.transfer.referrers import Artifact
from workers.engine.transfer.uploads import Blocks, blocks_of, mount, upload, upload_small
from workers.errors import InvalidManifest, SlipwayError, UserError
from workers.messages import LayerFacts, RegistryAccess
from workers.oci.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import Manifest, compose, parse_manifest
from workers.oci.reference import Reference

_MOUNTED_FROM = 4
"""Repositories that a blob is asked for at most; each is in the token's scope."""


@dataclass(frozen=True)
class Target:
    reference: Reference
    access: RegistryAccess
    compression: str = "gzip"
    provenance: str = ""
    """What its build said of it, to be put beside it; empty for none."""


@dataclass(frozen=True)
class Pushed:
    manifest_digest: str
    size: int
    """Of manifest, config and layers as the registry has them."""
    existed: int
    mounted: int
    uploaded: int
    provenance: str = ""
    """Digest of the manifest that says it, if there was anything to say and the registry took it."""
    warning: str = ""
    """Why it did not."""


@dataclass(frozen=True)
class _Placed:
    blob: Descriptor
    how: str
    """exists mounted done"""


def push(
    store: ImageStore,
    scope: str,
    image_id: str,
    target: Target,
    *,
    watcher: Watcher = UNWATCHED,
    patience: Patience = PATIENCE,
) -> Pushed:
    """The registry has the image under the reference. Safe to repeat.

    Raise ``RegistryNotAllowed``, ``NoSuchImage``, ``LayerNotKept``, ``RegistryError`` and its kinds,
    ``RegistryDenied``, ``AddressRefused``, ``NodeError`` for a layer that is damaged, and what ``watcher``
    raises.
    """
    if target.compression not in compressions.NAMES:
        raise UserError(f"{target.compression!r} is no compression; use {' or '.join(compressions.NAMES)}")
    doors.require_allowed(target.reference, target.access)
    with layer_store.lease(store.places, watcher.say):
        image = images.get(store, scope, image_id)
        with doors.opened(target.access, patience) as client:
            pushed = _Push(store, scope, image, target, client, watcher).run()
        _note_source(store, scope, image_id, target.reference.name)
    return pushed


class _Push:
    def __init__(
        self,
        store: ImageStore,
        scope: str,
        image: Image,
        target: Target,
        client: Client,
        watcher: Watcher,
    ) -> None:
        self._places, self._image, self._target, self._client = store.places, image, target, client
        self._board = Board(watcher, f"Pushing {target.reference.familiar}")
        self._original = _manifest_of(image)
        self._sources = _sources(store, scope, image, target.reference)
        also = tuple(dict.fromkeys(name for names in self._sources.values() for name in names))
        self._repository = doors.repository(
            client, target.reference, target.access, actions="pull,push", also=also[:_MOUNTED_FROM]
        )

    def run(self) -> Pushed:
        layers = list(dict.fromkeys(self._image.layers))
        positions = {layer: self._board.add(layer.diff_id, layer.unpacked_size) for layer in layers}
        self._board.show(now=True)
        placed = dict(
            zip(
                layers,
                side_by_side(
                    self._client, self._board, lambda each: self._place(each, positions[each]), layers
                ),
                strict=True,
            )
        )
        self._board.show(now=True)
        return apart(self._client, self._board, lambda: self._finish(placed))

    def _finish(self, placed: dict[LayerFacts, _Placed]) -> Pushed:
        """Config and manifest, now that all they name is there."""
        blobs = [placed[layer].blob for layer in self._image.layers]
        config = self._image.config_text.encode()
        upload_small(self._repository, config)
        text, media_type = self._manifest(blobs, config)
        digest = Digest.of(text)
        reference = self._target.reference
        self._repository.put_manifest(reference.tag or str(digest), text, media_type)
        counts = Counter(each.how for each in placed.values())
        size = len(text) + len(config) + sum(each.blob.size for each in placed.values())
        pushed = Pushed(str(digest), size, counts["exists"], counts["mounted"], counts["done"])
        return self._attest(pushed, Descriptor(media_type, digest, len(text)))

    def _attest(self, pushed: Pushed, subject: Descriptor) -> Pushed:
        """The image is there already: a registry that takes no word about it is no failure."""
        if not self._target.provenance:
            return pushed
        reference = self._target.reference
        try:
            text, kind = statements.about(self._target.provenance, reference.repository, str(subject.digest))
            artifact = Artifact(statements.MEDIA_TYPE, text, {statements.PREDICATE: kind})
            digest = referrers.attach(self._repository, reference.registry, subject, artifact)
        except SlipwayError as error:
            return replace(pushed, warning=error.message)
        return replace(pushed, provenance=str(digest))

    # ------------------------------------------------------------------ layers

    def _place(self, layer: LayerFacts, position: int) -> _Placed:
        """The repository has the layer."""
        candidates = self._candidates(layer)
        for blob in candidates:
            if self._repository.find_blob(blob.digest) is not None:
                return self._placed(position, blob, "exists")
        session: str | None = None
        for blob in candidates:
            for source in self._sources.get(str(blob.digest), ())[:_MOUNTED_FROM]:
                session = mount(self._repository, blob.digest, source)
                if session is None:
                    return self._placed(position, blob, "mounted")
        return self._placed(position, self._upload(layer, position, session), "done")

    def _placed(self, position: int, blob: Descriptor, how: str) -> _Placed:
        self._board.set(position, how)
        return _Placed(blob, how)

    def _candidates(self, layer: LayerFacts) -> list[Descriptor]:
        """The blobs that would be this layer: as it came, and as it was compressed before."""
        found = []
        if self._original is not None:
            found = [each for each in self._original.layers if str(each.digest) == layer.digest][:1]
        noted = compressions.noted(self._places, layer.diff_id).get(self._target.compression)
        if noted is not None and all(noted.digest != each.digest for each in found):
            found.append(noted)
        return found

    def _upload(self, layer: LayerFacts, position: int, session: str | None) -> Descriptor:
        changesets.require_streamable(self._places, layer.diff_id)
        self._board.set(position, "compressing", 0)

        def seen(done: int) -> None:
            self._board.set(position, "uploading", done)

        def blocks() -> Blocks:
            pieces = _counted(changesets.stream_layer(self._places, layer.diff_id), seen)
            return made_ahead(blocks_of(compressions.compressed(pieces, self._target.compression)))

        digest, size = upload(self._repository, blocks, session)
        blob = Descriptor(compressions.media_type(self._target.compression), digest, size)
        compressions.note(self._places, layer.diff_id, self._target.compression, blob)
        return blob

    # ------------------------------------------------------------------ the manifest

    def _manifest(self, blobs: list[Descriptor], config: bytes) -> tuple[bytes, str]:
        """The image's own, as far as its layers went out as they came; else one like it."""
        original = self._original
        if original is not None and [each.digest for each in blobs] == [
            each.digest for each in original.layers
        ]:
            return self._image.manifest.encode(), original.media_type
        return compose(Descriptor(OCI_CONFIG, Digest.of(config), len(config)), blobs), OCI_MANIFEST


def _manifest_of(image: Image) -> Manifest | None:
    try:
        document = parse_manifest(image.manifest.encode())
    except InvalidManifest:
        return None
    return document if isinstance(document, Manifest) else None


def _sources(store: ImageStore, scope: str, image: Image, target: Reference) -> dict[str, list[str]]:
    """For digests of the image's layers: repositories of the target's registry that should have them.

    Only what the scope itself knows of: where others have been with the same layer is theirs.
    """
    wanted = {layer.digest for layer in image.layers}
    wanted |= {
        str(blob.digest)
        for layer in image.layers
        for blob in compressions.noted(store.places, layer.diff_id).values()
    }
    found: dict[str, list[str]] = {}
    for other in images.granted(store, scope):
        names = [name.partition("/")[2] for name in other.sources if name.startswith(f"{target.registry}/")]
        names = [name for name in names if name != target.repository]
        if not names:
            continue
        for layer in other.layers:
            for digest in _digests(store, layer) & wanted:
                known = found.setdefault(digest, [])
                known += [name for name in names if name not in known]
    return found


def _digests(store: ImageStore, layer: LayerFacts) -> set[str]:
    """Of the blobs that were this layer."""
    noted = compressions.noted(store.places, layer.diff_id).values()
    return {layer.digest, *(str(blob.digest) for blob in noted)}


def _counted(pieces: Iterator[bytes], seen: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        seen(done)
        yield piece


def _note_source(store: ImageStore, scope: str, image_id: str, name: str) -> None:
    """The next push to the same registry may take layers from there."""
    with contextlib.suppress(UserError):  # withdrawn meanwhile
        image = images.get(store, scope, image_id)
        if image.sources[:1] != (name,):
            images.grant(store, scope, replace(image, sources=(name, *image.sources)))
