"""Manifests and indexes, OCI's and Docker's (schema 2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.errors import InvalidManifest
from workers.oci.descriptor import (
    CONFIGS,
    INDEXES,
    LAYERS,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    parse_document,
    text,
    text_map,
)

BUILDKIT_CACHE = "application/vnd.buildkit.cacheconfig.v0"
MAX_LAYERS = 127
"""As Docker; well within what one overlay takes."""


@dataclass(frozen=True)
class Manifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Index:
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)


def parse_manifest(data: bytes) -> Manifest | Index:
    """Raise ``InvalidManifest`` on whatever is not exactly one of the two."""
    body = parse_document(data, "manifest")
    if body.get("schemaVersion") == 1:
        raise InvalidManifest("The manifest has Docker's schema 1, long out of use; push the image again")
    if body.get("schemaVersion") != 2:
        raise InvalidManifest(
            f"The manifest's schemaVersion is {body.get('schemaVersion')!r}; 2 was expected"
        )
    # A document that reads as both would be checked as the one and used as the other.
    if "manifests" in body and ("layers" in body or "config" in body):
        raise InvalidManifest("The document is an index and a manifest at once")
    return _index(body) if "manifests" in body else _manifest(body)


def _manifest(body: dict[str, Any]) -> Manifest:
    media_type = text(body, "mediaType", "manifest", default=OCI_MANIFEST)
    if media_type not in MANIFESTS:
        raise InvalidManifest(f"The manifest calls itself {media_type[:120]!r}")
    layers = body.get("layers")
    if not isinstance(layers, list):
        raise InvalidManifest("manifest.layers must be a list")
    return Manifest(
        media_type,
        Descriptor.parse(body.get("config"), "manifest.config"),
        tuple(Descriptor.parse(each, f"manifest.layers[{n}]") for n, each in enumerate(layers)),
        text_map(body.get("annotations"), "manifest.annotations"),
    )


def _index(body: dict[str, Any]) -> Index:
    media_type = text(body, "mediaType", "index", default=OCI_INDEX)
    if media_type not in INDEXES:
        raise InvalidManifest(f"The index calls itself {media_type[:120]!r}")
    manifests = body["manifests"]
    if not isinstance(manifests, list):
        raise InvalidManifest("index.manifests must be a list")
    return Index(
        media_type,
        tuple(Descriptor.parse(each, f"index.manifests[{n}]") for n, each in enumerate(manifests)),
        text_map(body.get("annotations"), "index.annotations"),
    )


def require_image(manifest: Manifest) -> None:
    """Raise ``InvalidManifest`` unless ``manifest`` is a container image that can be unpacked."""
    _require_no_cache([manifest.config])
    if manifest.config.media_type not in CONFIGS:
        raise InvalidManifest(
            f"The manifest is no container image: its config is {manifest.config.media_type!r}",
            media_type=manifest.config.media_type,
        )
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidManifest(
            f"The image has {len(manifest.layers)} layers; at most {MAX_LAYERS} can be stacked"
        )
    for position, layer in enumerate(manifest.layers):
        if layer.media_type not in LAYERS:
            raise InvalidManifest(
                f"Layer {position} ({layer.digest}) cannot be unpacked: media type {layer.media_type!r}",
                media_type=layer.media_type,
            )


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The image (or inner index) for ``wanted``; raise ``InvalidManifest`` naming what there is.

    Attestations (platform unknown/unknown) are never chosen. Without a variant asked for, the plain
    one wins over the special ones.
    """
    _require_no_cache(index.manifests)
    candidates = [each for each in index.manifests if not _is_attestation(each)]
    fitting = [each for each in candidates if each.platform is not None and fits(each.platform, wanted)]
    fitting.sort(key=lambda each: 0 if each.platform and each.platform.variant == wanted.variant else 1)
    fitting = fitting or [each for each in candidates if each.platform is None]
    if not fitting:
        present = ", ".join(str(each.platform) for each in candidates) or "nothing"
        raise InvalidManifest(f"No image for {wanted} in the index; it holds {present}", wanted=str(wanted))
    return fitting[0]


def _require_no_cache(parts: Sequence[Descriptor]) -> None:
    if any(each.media_type == BUILDKIT_CACHE for each in parts):
        raise InvalidManifest(
            "It is a cache of BuildKit's (type=registry), which only BuildKit can read, and no image",
            media_type=BUILDKIT_CACHE,
        )


def _is_attestation(descriptor: Descriptor) -> bool:
    kind = descriptor.annotations.get("vnd.docker.reference.type")
    platform = descriptor.platform
    return kind == "attestation-manifest" or (platform is not None and platform.os == "unknown")


def fits(platform: Platform, wanted: Platform) -> bool:
    """Whether an image for ``platform`` is what was ``wanted``, where no variant means any."""
    same = (platform.os, platform.architecture) == (wanted.os, wanted.architecture)
    return same and (not wanted.variant or platform.variant in ("", wanted.variant))


def compose(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The OCI manifest text of an image that came without one; the same parts give the same bytes."""
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.wire(),
        "layers": [layer.wire() for layer in layers],
    }
    return json.dumps(body, separators=(",", ":")).encode()
