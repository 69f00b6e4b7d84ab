"""The installation's one blob store, as ``SLIPWAY_BLOBS`` names it."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from slipway.blobs.directory import DirectoryStore
from slipway.blobs.places import BucketPlace, DirectoryPlace
from slipway.blobs.store import BlobStore


def blob_store() -> BlobStore:
    return open_place(settings.SLIPWAY_BLOBS)


@lru_cache(maxsize=4)
def open_place(place: DirectoryPlace | BucketPlace) -> BlobStore:
    if isinstance(place, DirectoryPlace):
        return DirectoryStore(place.path)
    from slipway.blobs.s3 import connect  # the client library is large, and few installations need it

    return connect(place)
