"""What a manifest says that a registry must know: the blobs and manifests it names, and its subject. Pure.

Wider than ``workers.oci.manifest``, which reads what can be run: artifacts of any kind are kept here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from workers.errors import InvalidManifest
from workers.oci.descriptor import (
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    parse_document,
    text,
)
from workers.oci.descriptor import text_map as parse_annotations

MAX_SIZE = 4 << 20
MAX_NAMED = 10_000
"""Blobs or manifests in one document."""
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
"""Of a candidate of the specification that some clients still write."""
MAX_TYPE = 255
"""Characters of an artifact type: as many as two names of RFC 6838 and their slash have at most."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
KNOWN = MANIFESTS | INDEXES | {OCI_ARTIFACT}


@dataclass(frozen=True)
class Document:
    media_type: str
    blobs: tuple[Descriptor, ...] = ()
    """The config first, then the layers from the bottom, but for those that lie elsewhere by their URLs."""
    manifests: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""
    """As a list of referrers shows it."""
    annotations: dict[str, str] = field(default_factory=dict)


def parse_manifest(data: bytes, content_type: str = "") -> Document:
    """Raise ``InvalidManifest``; ``content_type`` is what the client calls it, empty if nothing."""
    body = parse_document(data, "manifest", MAX_SIZE)
    if _NUL.search(data):
        raise InvalidManifest("The manifest has a NUL character in a text, which cannot be kept.")
    if body.get("schemaVersion") == 1:
        raise InvalidManifest(
            "The manifest has Docker's schema 1, long out of use; push with a newer client."
        )
    declared = text(body, "mediaType", "manifest", default="")
    # Parameters say nothing about a manifest.
    given = content_type.partition(";")[0].strip().lower()
    if given in ("application/json", "application/octet-stream"):
        given = ""
    if declared and given and declared != given:
        raise InvalidManifest(f"The manifest calls itself {declared[:120]!r}, the request {given[:120]!r}.")
    media_type = declared or given or (OCI_INDEX if "manifests" in body else OCI_MANIFEST)
    if media_type not in KNOWN:
        raise InvalidManifest(f"The media type {media_type[:120]!r} is of no manifest known here.")
    if media_type != OCI_ARTIFACT and body.get("schemaVersion") != 2:
        raise InvalidManifest(f"schemaVersion is {str(body.get('schemaVersion'))[:40]}; 2 was expected.")
    # A document that reads as both would be checked as the one and used as the other.
    if "manifests" in body and (body.keys() & {"layers", "config", "blobs"}):
        raise InvalidManifest("The document is an index and a manifest at once.")
    if media_type in INDEXES:
        return _index(body, media_type)
    return _artifact(body, media_type) if media_type == OCI_ARTIFACT else _image(body, media_type)


def _image(body: dict[str, Any], media_type: str) -> Document:
    config = Descriptor.parse(body.get("config"), "config")
    layers = _descriptors(body, "layers")
    return Document(
        media_type,
        blobs=(config, *layers),
        config=config,
        subject=_subject(body),
        artifact_type=_artifact_type(body) or config.media_type,
        annotations=parse_annotations(body.get("annotations"), "annotations"),
    )


def _artifact(body: dict[str, Any], media_type: str) -> Document:
    return Document(
        media_type,
        blobs=_descriptors(body, "blobs") if body.get("blobs") is not None else (),
        subject=_subject(body),
        artifact_type=_artifact_type(body),
        annotations=parse_annotations(body.get("annotations"), "annotations"),
    )


def _index(body: dict[str, Any], media_type: str) -> Document:
    return Document(
        media_type,
        manifests=_descriptors(body, "manifests"),
        subject=_subject(body),
        artifact_type=_artifact_type(body),
        annotations=parse_annotations(body.get("annotations"), "annotations"),
    )


def _artifact_type(body: dict[str, Any]) -> str:
    found = text(body, "artifactType", "manifest", default="")
    if len(found) > MAX_TYPE:
        raise InvalidManifest(f"artifactType has {len(found)} characters; at most {MAX_TYPE} are kept.")
    return found


def _descriptors(body: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = body.get(name)
    if not isinstance(values, list):
        raise InvalidManifest(f"{name} must be a list.")
    if len(values) > MAX_NAMED:
        raise InvalidManifest(f"{name} has {len(values)} entries; at most {MAX_NAMED} are kept.")
    here = [(n, each) for n, each in enumerate(values) if not _lies_elsewhere(each)]
    return tuple(Descriptor.parse(each, f"{name}[{n}]") for n, each in here)


def _lies_elsewhere(value: object) -> bool:
    """A layer that may not be distributed is fetched from its own addresses."""
    if not isinstance(value, dict) or not value.get("urls"):
        return False
    kind = value.get("mediaType")
    return isinstance(kind, str) and ("nondistributable" in kind or "foreign" in kind)


def _subject(body: dict[str, Any]) -> Descriptor | None:
    value = body.get("subject")
    return None if value is None else Descriptor.parse(value, "subject")
