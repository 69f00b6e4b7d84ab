"""Writes: blobs on their way in, and those that come from another repository."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from slipway.blobs.store import BlobStore
from slipway.ids import parse_id
from slipway.projects.errors import QuotaExceeded
from slipway.repositories import accounting, links
from slipway.repositories.access import Access, Verb, reads, require_write
from slipway.repositories.errors import NoSuchRepository, NoSuchUpload
from slipway.repositories.models import Blob, Upload
from slipway.repositories.queries import find_repository
from workers.oci.digest import Digest

EXPIRE = timedelta(hours=1)
"""How long an upload may be silent."""
FIRST, LEAST = 4 << 20, 64 << 10
"""What an upload of unknown size holds of the quota at first; less, if there is not so much."""
STEP = 16 << 20
STEP_MAX = 256 << 20


def start(access: Access, path: str, declared: int | None = None) -> Upload:
    """A new upload to the repository, which is made if it is new; ``declared`` bytes of quota are its own.

    Nothing is on disk until bytes come. Raise ``InvalidRepositoryName``, ``NoSuchRepository``,
    ``NotAllowed``, ``InsufficientGrant``, ``QuotaExceeded``.
    """
    with transaction.atomic():
        repository = links.ensure_repository(access, path)
        upload = Upload.objects.create(
            repository=repository, started_by=access.label[:200], expires_at=timezone.now() + EXPIRE
        )
        if declared is not None:
            accounting.reserve_upload(upload, declared)
        else:
            _reserve_first(upload)
    return upload


def _reserve_first(upload: Upload) -> None:
    try:
        accounting.reserve_upload(upload, FIRST)
    except QuotaExceeded:
        accounting.reserve_upload(upload, LEAST)


def get_upload(access: Access, path: str, upload_id: str) -> Upload:
    """Raise as ``start``, and ``NoSuchUpload``."""
    key = parse_id(upload_id)
    rows = Upload.objects.select_related("repository__project__team").filter(repository__path=path)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        repository = find_repository(path)
        if repository is None:
            raise NoSuchRepository(path)
        require_write(access, path, repository.project)
        raise NoSuchUpload
    # What comes of it is named by a manifest, and whoever pushes that is asked by policy again.
    if not (access.grants is not None and access.has(path, Verb.PUSH)):
        require_write(access, path, found.repository.project)
    return found


def grow(upload: Upload, needed: int) -> int:
    """Reserve at least ``needed`` bytes, some more if there is room; how many are reserved now.

    Keeps the upload alive. Raise ``QuotaExceeded``, ``NoSuchUpload``.
    """
    more = min(max(STEP, upload.reserved), STEP_MAX)
    with transaction.atomic():
        if not Upload.objects.select_for_update().filter(pk=upload.pk).exists():
            raise NoSuchUpload
        try:
            accounting.reserve_upload(upload, needed + more)
        except QuotaExceeded:
            accounting.reserve_upload(upload, needed)
    keep_alive(upload)
    return upload.reserved


def reserve(upload: Upload, total: int) -> None:
    """Reserve exactly ``total`` bytes, if it is more than before. Raise ``QuotaExceeded``."""
    if total > upload.reserved:
        with transaction.atomic():
            accounting.reserve_upload(upload, total)


def keep_alive(upload: Upload) -> None:
    """Something came of it. Raise ``NoSuchUpload`` if it was ended meanwhile."""
    if not Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() + EXPIRE):
        raise NoSuchUpload


def finish(upload: Upload, digest: Digest, size: int, key: str, store: BlobStore) -> Blob:
    """The upload became the blob ``digest``, kept in ``store`` as ``key``; its repository has it now.

    Were the bytes there before, those stay and ``key`` is deleted. Raise ``NoSuchUpload``,
    ``QuotaExceeded``; ``key`` is deleted then, too.
    """
    blob = None
    try:
        with transaction.atomic():
            if not Upload.objects.filter(pk=upload.pk).delete()[0]:
                raise NoSuchUpload
            links.lock(upload.repository)
            blob = links.ensure_blob(digest, size, key, store)
            accounting.lock(upload.repository.project)
            accounting.release_upload(upload)
            # What was reserved is exchanged for what came of it.
            links.link(upload.repository, blob, checked=upload.reserved < size)
    except BaseException:
        store.delete(key)
        raise
    if blob.key != key:
        store.delete(key)
    return blob


def cancel(upload: Upload, store: BlobStore) -> None:
    """Nothing is left of it. Safe to repeat."""
    with transaction.atomic():
        accounting.release_upload(upload)
        Upload.objects.filter(pk=upload.pk).delete()
    store.discard(upload.hex)


def mount(access: Access, path: str, digest: str, source: str) -> Blob | None:
    """Let the repository at ``path`` have a blob of ``source``; None if the caller may not read that.

    Raise as ``start``.
    """
    text = str(Digest.parse(digest))
    origin = find_repository(source)
    if origin is None or not reads(access, origin):
        return None
    with transaction.atomic():
        repository = links.ensure_repository(access, path)
        links.lock(repository)
        blob = Blob.objects.select_for_update(no_key=True).filter(digest=text).first()
        if blob is None or not blob.links.filter(repository=origin).exists():
            return None
        links.link(repository, blob)
    return blob
