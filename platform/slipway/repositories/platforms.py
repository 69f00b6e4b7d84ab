"""For which platform an image is: its config says so, which lies in the blob store.

``Manifest.platform`` is None until somebody has looked: right after a push, else the sweep, which so fills in
what was pushed before there was such a column, too.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from django.db.models import Q

from slipway.blobs.store import BlobStore
from slipway.repositories.models import Blob, Manifest
from workers.errors import NoSuchBlob, SlipwayError
from workers.oci.descriptor import Platform

log = structlog.get_logger(__name__)

CONFIG_MAX = 4 << 20
ROWS = 200
"""At most so many at a time; the others are still due at the next sweep."""


def config_of(blob: Blob, store: BlobStore) -> dict[str, Any]:
    """What the config says; empty if it is not there, or none that can be read."""
    if blob.size > CONFIG_MAX:
        return {}
    try:
        reader = store.open(blob.key)
    except NoSuchBlob:
        return {}
    try:
        found = json.loads(reader.read(0, blob.size))
    except (ValueError, RecursionError):
        return {}
    finally:
        reader.close()
    return found if isinstance(found, dict) else {}


def platform_of(config: dict[str, Any]) -> str:
    """``os/architecture[/variant]``; empty where it does not say."""
    parts = [config.get(name) or "" for name in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts):
        return ""
    try:
        return str(Platform.of("/".join(parts if parts[2] else parts[:2])))[:100]
    except SlipwayError:
        return ""


def note(manifest: Manifest, store: BlobStore) -> None:
    """Look it up now. A store that does not answer is the sweep's to ask again."""
    blob = Blob.objects.filter(references__manifest=manifest, digest=manifest.config_digest).first()
    try:
        platform = platform_of(config_of(blob, store)) if blob else ""
    except SlipwayError as error:
        log.warning("platform_not_read", digest=manifest.digest, error=error.message)
        return
    Manifest.objects.filter(pk=manifest.pk).update(platform=platform)
    manifest.platform = platform


def fill(store: BlobStore) -> int:
    """Look up what nobody has looked up yet. How many."""
    rows = Manifest.objects.filter(platform=None).defer("content").order_by("created_at")[:ROWS]
    for manifest in rows:
        note(manifest, store)
    return len(rows)


def has_architecture(name: str) -> Q:
    """Of a field ``platform``."""
    return Q(platform__endswith=f"/{name}") | Q(platform__contains=f"/{name}/")
