"""What nobody needs goes: expired uploads, blobs no push holds, bytes without a row. For the sweep."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

from slipway.blobs.store import BlobStore
from slipway.ids import parse_id
from slipway.repositories import accounting, links
from slipway.repositories.models import Blob, BlobLink, Manifest, Repository, Upload
from workers.errors import NoSuchBlob

log = structlog.get_logger(__name__)

ROWS = 500
"""At most so many at a time; the others are still due at the next sweep."""
STRAY_AFTER = timedelta(hours=1)
"""Bytes without a row are so young only while their row is being written."""
EMPTY_AFTER = timedelta(days=1)


def expire_uploads(store: BlobStore, now: datetime) -> int:
    """End the uploads that were silent for too long, and give their quota back. How many."""
    ended = 0
    for upload in Upload.objects.filter(expires_at__lt=now).order_by("expires_at")[:ROWS]:
        with transaction.atomic():
            still = Upload.objects.select_for_update().filter(pk=upload.pk, expires_at__lt=now)
            if not still.exists():
                continue
            accounting.release_upload(upload)
            Upload.objects.filter(pk=upload.pk).delete()
        store.discard(upload.hex)
        ended += 1
    return ended


def release_links(now: datetime) -> int:
    """Let go of blobs whose push never brought a manifest. How many bytes fewer projects hold."""
    expired = BlobLink.objects.filter(held_until__lt=now).order_by("held_until")
    freed = 0
    for key in set(expired.values_list("repository", flat=True)[:ROWS]):
        with transaction.atomic():
            repository = Repository.objects.select_related("project__team").filter(pk=key).first()
            if repository is None:
                continue
            links.lock(repository)
            mine = BlobLink.objects.filter(repository=repository, held_until__lt=now)
            blobs = [row.blob for row in mine.select_related("blob")[:ROWS]]
            freed += links.drop_unneeded(repository, blobs, now)
            # What is left is named by a manifest.
            mine.filter(blob__in=blobs).update(held_until=None)
    return freed


def sweep_blobs(store: BlobStore, *, within: float = 30.0) -> int:
    """Delete the bytes of all blobs that no repository has, or of those it gets to ``within`` seconds.

    How many bytes.
    """
    freed, end = 0, time.monotonic() + within
    waiting = Blob.objects.filter(unlinked_at__isnull=False).order_by("pk").values_list("pk", flat=True)
    keys = list(waiting[:ROWS])
    while keys:
        for key in keys:
            freed += _sweep_blob(store, key)
            if time.monotonic() > end:
                return freed
        keys = list(waiting.filter(pk__gt=keys[-1])[:ROWS])
    return freed


def _sweep_blob(store: BlobStore, key: UUID) -> int:
    """The row goes first, with its lock held while it is made sure that nobody links the blob; then its
    bytes, whose key no later push of the same blob can have.
    """
    with transaction.atomic():
        blob = Blob.objects.select_for_update(skip_locked=True).filter(pk=key).first()
        if blob is None:
            return 0  # somebody is linking it this moment
        if blob.links.exists():
            Blob.objects.filter(pk=key).update(unlinked_at=None)
            return 0
        blob.delete()
    store.delete(blob.key)
    log.info("blob_swept", digest=blob.digest, size=blob.size)
    return blob.size


def find_strays(store: BlobStore, now: datetime) -> int:
    """Look through everything: bytes no row stands for, blobs whose repository went, empty repositories.

    What a process killed halfway left, and what a deleted project had. How many there were.
    """
    linked = Exists(BlobLink.objects.filter(blob=OuterRef("pk")))
    lost = Blob.objects.filter(~linked, unlinked_at=None, created_at__lt=now - STRAY_AFTER)
    return lost.update(unlinked_at=now) + _stray_bytes(store, now) + _empty_repositories(now)


def _stray_bytes(store: BlobStore, now: datetime) -> int:
    before = (now - STRAY_AFTER).timestamp()
    found = 0
    blobs = iter(store.blobs())
    while batch := list(islice(blobs, ROWS)):
        old = [stored.name for stored in batch if stored.changed_at < before]
        # A key has no index of its own, but begins with the digest, which has.
        rows = Blob.objects.filter(digest__in=[digest_in(name) for name in old])
        for name in sorted(set(old) - set(rows.values_list("key", flat=True))):
            log.warning("stray_blob", key=name)
            with suppress(NoSuchBlob):  # no key of ours: somebody else put it there, and it stays
                store.delete(name)
                found += 1
    for stored in store.uploads():
        key = parse_id(stored.name)
        if stored.changed_at < before and key and not Upload.objects.filter(pk=key).exists():
            log.info("stray_upload", upload=stored.name)
            store.discard(stored.name)
            found += 1
    return found


def digest_in(key: str) -> str:
    """The digest that a blob's key was made from."""
    algorithm, _, rest = key.partition("/")
    return f"{algorithm}:{rest.rpartition('/')[2].partition('.')[0]}"


def _empty_repositories(now: datetime) -> int:
    """Those an upload made that came to nothing."""
    empty = Repository.objects.filter(
        ~Exists(Manifest.objects.filter(repository=OuterRef("pk"))),
        ~Exists(BlobLink.objects.filter(repository=OuterRef("pk"))),
        ~Exists(Upload.objects.filter(repository=OuterRef("pk"))),
        last_push_at=None,
        readme="",
        visibility="private",
        created_at__lt=now - EMPTY_AFTER,
    )
    return empty.delete()[0]
