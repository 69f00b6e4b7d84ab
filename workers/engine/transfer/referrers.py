"""Artifacts that refer to an image in a registry: pushed beside it, found through it.

A registry with the referrers API finds them by itself and says so (``OCI-Subject``). For any other the
Distribution specification has a tag named after the image's digest, with an index of what refers to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from workers.engine.transfer.registry import Repository
from workers.engine.transfer.uploads import upload_small
from workers.errors import NoSuchManifest, RegistryError
from workers.oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from workers.oci.digest import Digest
from workers.oci.reference import Reference

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"


@dataclass(frozen=True)
class Artifact:
    media_type: str
    payload: bytes
    annotations: dict[str, str]


def attach(repository: Repository, registry: str, subject: Descriptor, artifact: Artifact) -> Digest:
    """The registry has the artifact as a referrer of ``subject``. Safe to repeat. Raise ``RegistryError``."""
    for blob in (_EMPTY, artifact.payload):
        upload_small(repository, blob)
    text = manifest(subject, artifact)
    digest = Digest.of(text)
    if not repository.put_manifest(str(digest), text, OCI_MANIFEST):
        _list_by_tag(repository, registry, subject, artifact, Descriptor(OCI_MANIFEST, digest, len(text)))
    return digest


def manifest(subject: Descriptor, artifact: Artifact) -> bytes:
    """The same parts give the same bytes."""
    layer = Descriptor(artifact.media_type, Digest.of(artifact.payload), len(artifact.payload))
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.media_type,
        "config": Descriptor(EMPTY_TYPE, Digest.of(_EMPTY), len(_EMPTY)).wire(),
        "layers": [{**layer.wire(), "annotations": artifact.annotations}],
        "subject": subject.wire(),
        "annotations": artifact.annotations,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def fallback_tag(subject: Digest) -> str:
    """The referrers tag schema."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def _list_by_tag(
    repository: Repository, registry: str, subject: Descriptor, artifact: Artifact, made: Descriptor
) -> None:
    """Two who do this at once may lose one another's entry: a push repeated puts it back."""
    tag = fallback_tag(subject.digest)
    entries = _listed(repository, Reference(registry, repository.name, tag))
    if any(entry.get("digest") == str(made.digest) for entry in entries):
        return
    entry = {**made.wire(), "artifactType": artifact.media_type, "annotations": artifact.annotations}
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]}
    repository.put_manifest(tag, json.dumps(body, separators=(",", ":")).encode(), OCI_INDEX)


def _listed(repository: Repository, reference: Reference) -> list[dict[str, Any]]:
    try:
        body = json.loads(repository.get_manifest(reference).text)
    except NoSuchManifest:
        return []
    except ValueError:
        body = None
    entries = body.get("manifests") if isinstance(body, dict) and body.get("mediaType") == OCI_INDEX else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RegistryError(f"{reference} is no list of referrers; somebody uses the tag for something else")
    return entries
