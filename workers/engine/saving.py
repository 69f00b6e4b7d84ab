"""Images as archives to take away: `docker save`'s, and OCI's layout. Layers are in them as plain tars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workers.engine import changesets, images
from workers.engine.entries import FILE, Header, written
from workers.engine.images import Image, ImageStore
from workers.errors import UserError
from workers.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import compose
from workers.oci.reference import Reference

_BLOCK = 512
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Saved:
    size: int
    pieces: Iterator[bytes]
    """Raises ``NodeError`` where a layer is damaged or was removed: what was read is then worth nothing."""


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]


def save(store: ImageStore, scope: str, image_id: str, layout: str, names: Sequence[str]) -> Saved:
    """The image of ``scope`` as an archive, ``docker`` or ``oci``, which says that it is called ``names``.

    Raise ``NoSuchImage``, ``LayerNotKept``, ``InvalidReference``, ``UserError`` for another ``layout``.
    """
    arrange = _LAYOUTS.get(layout)
    if arrange is None:
        raise UserError(f"{layout[:40]!r} is no layout of an archive; use {' or '.join(_LAYOUTS)}")
    references = [Reference.parse(name) for name in names]
    image = images.get(store, scope, image_id)
    for layer in image.layers:
        changesets.require_streamable(store.places, layer.diff_id)
    files = arrange(store, image, references)
    return Saved(sum(map(_room, files)) + len(_END), _tar(files))


def _docker(store: ImageStore, image: Image, references: Sequence[Reference]) -> list[_File]:
    config_name = f"{Digest.parse(image.image_id).hex}.json"
    paths = [f"{Digest.parse(layer.diff_id).hex}/layer.tar" for layer in image.layers]
    manifest = [
        {
            "Config": config_name,
            "RepoTags": [each.familiar for each in references if each.digest is None],
            "Layers": paths,
        }
    ]
    return [
        _small("manifest.json", json.dumps(manifest).encode()),
        _small(config_name, image.config_text.encode()),
        *_layers(store, image, paths),
    ]


def _oci(store: ImageStore, image: Image, references: Sequence[Reference]) -> list[_File]:
    config = image.config_text.encode()
    blobs = [
        Descriptor(OCI_LAYER, Digest.parse(layer.diff_id), layer.unpacked_size) for layer in image.layers
    ]
    config_digest = Digest.parse(image.image_id)
    manifest = compose(Descriptor(OCI_CONFIG, config_digest, len(config)), blobs)
    digest = Digest.of(manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            Descriptor(OCI_MANIFEST, digest, len(manifest), annotations=annotations).wire()
            for annotations in [_annotations(each) for each in references] or [{}]
        ],
    }
    return [
        _small("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        _small("index.json", json.dumps(index, separators=(",", ":")).encode()),
        _small(_blob(digest), manifest),
        _small(_blob(config_digest), config),
        *_layers(store, image, [_blob(each.digest) for each in blobs]),
    ]


_LAYOUTS = {"docker": _docker, "oci": _oci}


def _annotations(reference: Reference) -> dict[str, str]:
    """The whole name as containerd has it, and what OCI's layout calls the name within a layout."""
    return {
        "io.containerd.image.name": str(reference),
        "org.opencontainers.image.ref.name": reference.tag or str(reference.digest),
    }


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _small(name: str, data: bytes) -> _File:
    return _File(name, len(data), lambda: iter([data]))


def _layers(store: ImageStore, image: Image, paths: Sequence[str]) -> list[_File]:
    """A layer that occurs twice is there once."""
    found: dict[str, _File] = {}
    for path, layer in zip(paths, image.layers, strict=True):
        diff_id = layer.diff_id
        found[path] = _File(
            path,
            layer.unpacked_size,
            lambda diff_id=diff_id: changesets.stream_layer(store.places, diff_id),  # type: ignore[misc]  # bound here
        )
    return list(found.values())


def _header(file: _File) -> bytes:
    return written(Header(file.name.encode(), FILE, mode=0o644, size=file.size))


def _room(file: _File) -> int:
    return len(_header(file)) + file.size + -file.size % _BLOCK


def _tar(files: Sequence[_File]) -> Iterator[bytes]:
    for file in files:
        yield _header(file)
        yield from file.pieces()
        yield bytes(-file.size % _BLOCK)
    yield _END
