"""Writes: blobs on their way in, and those that come from another repository."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from slipway.blobs.store import BlobStore
from slipway.ids import parse_id
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded
from slipway.projects.models import Resource
from slipway.repositories import accounting, links
from slipway.repositories.access import Access, Verb, reads, require_write
from slipway.repositories.certificates import new_upload_id, read
from slipway.repositories.errors import NoSuchUpload
from slipway.repositories.models import Blob, Repository, Upload
from slipway.repositories.queries import find_repository
from workers.oci.digest import Digest

EXPIRE = timedelta(hours=1)
"""How long an upload may be silent."""
LEAST = 64 << 10
"""Bytes of quota that must be left for an upload to begin at all."""
STEP = 16 << 20
STEP_MAX = 256 << 20


@dataclass(frozen=True)
class Admission:
    """That somebody may begin uploads to a repository, which need not exist."""

    repository: Repository
    access: Access
    room: int | None
    """Bytes that the project's quota had left; None if there is no limit."""

    def upload(self) -> Upload:
        """A new one. It is not saved: it needs no row before it holds more than a little."""
        return _unsaved(new_upload_id(self.repository.path), self.repository, self.access)


def admit(access: Access, path: str) -> Admission:
    """Nothing is written. Raise ``InvalidRepositoryName``, ``NoSuchRepository``, ``NotAllowed``,
    ``InsufficientGrant``, ``QuotaExceeded``."""
    repository = links.admit(access, path)
    room = ledger.room(repository.project, Resource.REGISTRY)
    if room is not None and room < LEAST:
        ledger.require_room(repository.project, {Resource.REGISTRY.value: LEAST})
    return Admission(repository, access, room)


def _unsaved(key: UUID, repository: Repository, access: Access) -> Upload:
    upload = Upload(
        id=key,
        repository=repository,
        started_by=access.label[:200],
        expires_at=timezone.now() + EXPIRE,
    )
    upload.access = access
    return upload


def start(access: Access, path: str, declared: int) -> Upload:
    """A new upload with a row; ``declared`` bytes of quota are its own. Raise as ``admit``."""
    return reserve(admit(access, path).upload(), declared)


def get_upload(access: Access, path: str, upload_id: str) -> Upload:
    """One with a row, or one that may go on without. Raise as ``admit``, and ``NoSuchUpload``."""
    key = parse_id(upload_id)
    rows = Upload.objects.select_related("repository__project__team").filter(repository__path=path)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        repository = links.admit(access, path)
        certificate = read(key, path) if key else None
        if key is None or certificate is None or certificate.began + EXPIRE.total_seconds() < time.time():
            raise NoSuchUpload
        return _unsaved(key, repository, access)
    # What comes of it is named by a manifest, and whoever pushes that is asked by policy again.
    if not (access.grants is not None and access.has(path, Verb.PUSH)):
        require_write(access, path, found.repository.project)
    return found


def grow(upload: Upload, needed: int) -> Upload:
    """With at least ``needed`` bytes reserved, some more if there is room.

    Raise ``QuotaExceeded``, ``NoSuchUpload``, ``NoSuchRepository``.
    """
    more = min(max(STEP, upload.reserved), STEP_MAX)
    try:
        return reserve(upload, needed + more)
    except QuotaExceeded:
        return reserve(upload, needed)


def reserve(upload: Upload, total: int) -> Upload:
    """With ``total`` bytes reserved, if that is more than before, and kept alive; one without a row gets it.

    Raise ``QuotaExceeded``, ``NoSuchUpload``, ``NoSuchRepository``.
    """
    if upload.is_recorded and total <= upload.reserved:
        return upload
    with transaction.atomic():
        if not upload.is_recorded:
            upload = _record(upload)
        else:
            keep_alive(upload)
        accounting.reserve_upload(upload, total)
    return upload


def _record(upload: Upload) -> Upload:
    return Upload.objects.create(
        id=upload.pk,
        repository=links.settle(upload.repository, upload.access),
        started_by=upload.started_by,
        expires_at=timezone.now() + EXPIRE,
    )


def keep_alive(upload: Upload) -> None:
    """Something came of it. Raise ``NoSuchUpload`` if it was ended meanwhile."""
    if not upload.is_recorded:
        return
    if not Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() + EXPIRE):
        raise NoSuchUpload


def finish(upload: Upload, digest: Digest, size: int, key: str, store: BlobStore) -> Blob:
    """The upload became the blob ``digest``, kept in ``store`` as ``key``; its repository has it now.

    Were the bytes there before, those stay and ``key`` is deleted. Raise ``NoSuchUpload``,
    ``NoSuchRepository``, ``QuotaExceeded``; ``key`` is deleted then, too.
    """
    blob = None
    try:
        with transaction.atomic():
            if not upload.is_recorded:
                upload.repository = links.settle(upload.repository, upload.access)
            elif not Upload.objects.filter(pk=upload.pk).delete()[0]:
                raise NoSuchUpload
            links.lock(upload.repository)
            blob, is_new = links.ensure_blob(digest, size, key, store)
            if upload.is_recorded:
                accounting.lock(upload.repository.project)
                accounting.release_upload(upload)
            # What was reserved is exchanged for what came of it.
            links.link(upload.repository, blob, checked=upload.reserved < size, is_new=is_new)
    except BaseException:
        store.delete(key)
        raise
    if blob.key != key:
        store.delete(key)
    return blob


def cancel(upload: Upload, store: BlobStore) -> None:
    """Nothing is left of it. Safe to repeat."""
    store.discard(upload.hex)  # first: on a full disk the database may not be written to
    if upload.is_recorded:
        with transaction.atomic():
            accounting.release_upload(upload)
            Upload.objects.filter(pk=upload.pk).delete()


def shrink(upload: Upload, received: int) -> None:
    """It holds no more of the quota than what has come of it, and a little."""
    amount = received + LEAST
    if upload.is_recorded and amount < upload.reserved:
        with transaction.atomic():
            if Upload.objects.filter(pk=upload.pk).update(reserved=amount):
                accounting.lower_upload(upload, amount)
        upload.reserved = amount


def mount(access: Access, path: str, digest: str, source: str, store: BlobStore) -> Blob | None:
    """Let the repository at ``path`` have a blob of ``source``; None if that has none the caller may read.

    Raise as ``admit``.
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
        if store.size(blob.key) != blob.size:
            return None  # its bytes were lost; those the client pushes then heal it
        links.link(repository, blob)
    return blob
