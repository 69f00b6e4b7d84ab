"""The installation's one blob store, as ``SLIPWAY_BLOBS`` names it."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from slipway.blobs.directory import DirectoryStore
from slipway.blobs.places import DirectoryPlace
from slipway.blobs.store import BlobStore


def blob_store() -> BlobStore:
    return _open(settings.SLIPWAY_BLOBS)


@lru_cache(maxsize=4)
def _open(place: DirectoryPlace) -> BlobStore:
    return DirectoryStore(place.path)
