"""Descriptors: media type, digest and size; the pointers documents are linked by."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from workers.errors import InvalidDigest, InvalidManifest, InvalidReference
from workers.oci.digest import Digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
LAYERS = frozenset(
    {OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD}
    | {layer.replace("layer.v1", "layer.nondistributable.v1") for layer in (OCI_LAYER, OCI_LAYER_GZIP)}
    | {OCI_LAYER_ZSTD.replace("layer.v1", "layer.nondistributable.v1")}
    | {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}
)
_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def of(cls, written: str) -> Platform:
        """``os/architecture[/variant]``, as people write it. Raise ``InvalidReference``."""
        parts = written.split("/")
        if len(parts) not in (2, 3) or not all(_PLATFORM_PART.fullmatch(part) for part in parts):
            raise InvalidReference(
                f"{written[:80]!r} is no platform: os/architecture is needed, as in linux/amd64"
            )
        return cls(*parts)

    @classmethod
    def parse(cls, value: object, where: str) -> Platform:
        body = members(value, where)
        return cls(
            text(body, "os", where),
            text(body, "architecture", where),
            text(body, "variant", where, default=""),
        )


@dataclass(frozen=True)
class Descriptor:
    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, where: str = "descriptor") -> Descriptor:
        """Raise ``InvalidManifest``, naming ``where`` in its document the descriptor stands."""
        body = members(value, where)
        media_type = text(body, "mediaType", where)
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise InvalidManifest(f"{where}.mediaType {media_type[:80]!r} is no media type")
        size = body.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidManifest(f"{where}.size must be a whole number of bytes")
        try:
            digest = Digest.parse(body.get("digest"))
        except InvalidDigest as error:
            raise InvalidManifest(f"{where}.digest: {error.message}") from error
        platform = Platform.parse(body["platform"], f"{where}.platform") if body.get("platform") else None
        annotations = text_map(body.get("annotations"), f"{where}.annotations")
        return cls(media_type, digest, size, platform, annotations)

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            body["annotations"] = self.annotations
        return body


# --------------------------------------------------------------------------- strict JSON


def parse_document(data: bytes, what: str, limit: int = 4 << 20) -> dict[str, Any]:
    """A JSON object, or ``InvalidManifest``. A name given twice is refused: readers disagree on it."""
    if len(data) > limit:
        raise InvalidManifest(f"The {what} has {len(data)} bytes; at most {limit} are read")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a character is none
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(f"The {what} is no JSON: {error}") from error
    return members(value, what)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} is given twice")
    return result


def members(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidManifest(f"{where} must be an object")
    return value


def text(body: dict[str, Any], name: str, where: str, default: str | None = None) -> str:
    """The member ``name``; absent and null mean ``default``, which None makes an error."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidManifest(f"{where}.{name} must be text")
    return value


def text_map(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    body = members(value, where)
    for name, each in body.items():
        if not isinstance(each, str):
            raise InvalidManifest(f"{where}[{name[:80]!r}] must be text")
    return body


def texts(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidManifest(f"{where} must be a list of texts")
    return tuple(value)
