"""Which repository has which blob: linked, held by pushes, and dropped when no manifest needs it any more.

Locks are taken in the order upload, repository, blobs by their ids, project. With a repository's lock held
nothing in it changes but by the holder; with a blob's lock held nobody links it and no sweep takes it. Only
the sweep locks a blob's key: so rows may refer to a blob while others lock it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from slipway.audit.services import record
from slipway.blobs.store import BlobStore
from slipway.projects.models import Project
from slipway.repositories import accounting
from slipway.repositories.access import Access, require_write
from slipway.repositories.errors import NoSuchRepository
from slipway.repositories.models import Blob, BlobLink, ManifestBlob, Repository
from slipway.repositories.names import RepositoryPath
from slipway.repositories.queries import find_repository
from workers.oci.digest import Digest

HOLD_PUSHED = timedelta(hours=1)
"""How long a blob that was pushed or mounted waits for its manifest."""
HOLD_SEEN = timedelta(minutes=10)
"""Likewise for one that a pushing client was told it need not push."""


def ensure_repository(access: Access, path: str) -> Repository:
    """The repository, made private if it is new; raise as ``admit``."""
    return settle(admit(access, path), access)


def admit(access: Access, path: str) -> Repository:
    """The repository, which the caller may push to; one that is new is not saved.

    Raise ``InvalidRepositoryName``, ``NoSuchRepository``, ``NotAllowed``, ``InsufficientGrant``.
    """
    found = find_repository(path)
    if found is not None:
        require_write(access, path, found.project, there=found)
        return found
    parts = RepositoryPath.parse(path)
    project = Project.objects.select_related("team").filter(team__slug=parts.team, slug=parts.project).first()
    if project is None:
        raise NoSuchRepository(path)
    require_write(access, path, project)
    return Repository(project=project, name=parts.name, path=path)


def settle(admitted: Repository, access: Access) -> Repository:
    """The row of a repository that ``admit`` gave some time ago; made (again) if there is none.

    Raise ``NoSuchRepository`` if its project has gone.
    """
    path = admitted.path
    if not admitted._state.adding and Repository.objects.filter(pk=admitted.pk).exists():
        return admitted
    found = find_repository(path)
    if found is not None and found.project_id == admitted.project_id:
        return found
    try:
        with transaction.atomic():
            if not Project.objects.filter(pk=admitted.project_id).exists():
                raise NoSuchRepository(path)
            made = Repository.objects.create(project=admitted.project, name=admitted.name, path=path)
            record(access, "repository.create", made)
            return made
    except IntegrityError:  # another push was first
        return Repository.objects.select_related("project__team").get(path=path)


def lock(repository: Repository) -> None:
    if not connection.features.has_select_for_update:
        return  # one transaction at a time writes anyway
    Repository.objects.select_for_update(of=("self",), no_key=True).only("pk").get(pk=repository.pk)


def ensure_blob(digest: Digest, size: int, key: str, store: BlobStore) -> tuple[Blob, bool]:
    """The row of the blob, locked, and whether it is new.

    Its ``key`` is the given one unless those bytes were there before.
    """
    for _ in range(3):
        fresh = Blob(digest=str(digest), size=size, key=key, store=store.kind)
        Blob.objects.bulk_create([fresh], ignore_conflicts=True)
        blob = Blob.objects.select_for_update(no_key=True).filter(digest=str(digest)).first()
        if blob is None:
            continue  # it was there, and was swept this moment
        if blob.key != key and store.size(blob.key) != blob.size:  # lost; here they are again
            Blob.objects.filter(pk=blob.pk).update(key=key, store=store.kind)
            blob.key = key
        return blob, blob.pk == fresh.pk
    raise RuntimeError(f"the blob {digest} comes and goes")


def link(repository: Repository, blob: Blob, *, checked: bool = True, is_new: bool = False) -> None:
    """The repository has the blob, and keeps it for its manifest. Call with both locked.

    Raise ``QuotaExceeded`` unless not ``checked``.
    """
    accounting.lock(repository.project)
    held_until = timezone.now() + HOLD_PUSHED
    rows = BlobLink.objects.filter(project=repository.project_id, blob=blob)
    there = [] if is_new else list(rows.values_list("repository", "pk"))
    mine = next((key for owner, key in there if owner == repository.pk), None)
    if mine is not None:
        BlobLink.objects.filter(pk=mine).update(held_until=held_until)
        return
    BlobLink.objects.create(
        repository=repository, project_id=repository.project_id, blob=blob, held_until=held_until
    )
    if not there:
        accounting.add(repository.project, blob.size, checked=checked)


def hold(repository: Repository, blob: Blob) -> None:
    """A push was told that the blob is here: it stays while the manifest may still come."""
    now = timezone.now()
    short = Q(held_until=None) | Q(held_until__lt=now + HOLD_SEEN / 2)
    BlobLink.objects.filter(short, repository=repository, blob=blob).update(held_until=now + HOLD_SEEN)


def drop_unneeded(repository: Repository, blobs: Collection[Blob], now: datetime | None = None) -> int:
    """Of ``blobs``, take those from the repository that no manifest of it names and no push holds.

    Call with the repository locked. How many bytes fewer the project holds.
    """
    now = now or timezone.now()
    named = ManifestBlob.objects.filter(blob=OuterRef("blob"), manifest__repository=repository)
    unneeded = BlobLink.objects.filter(
        Q(held_until=None) | Q(held_until__lte=now), ~Exists(named), repository=repository, blob__in=blobs
    )
    gone = {row.blob_id: row.pk for row in unneeded}
    if not gone:
        return 0
    locked = list(Blob.objects.select_for_update(no_key=True).filter(pk__in=gone).order_by("pk"))
    accounting.lock(repository.project)
    BlobLink.objects.filter(pk__in=gone.values()).delete()
    kept = set(
        BlobLink.objects.filter(project=repository.project_id, blob__in=gone).values_list("blob", flat=True)
    )
    freed = sum(blob.size for blob in locked if blob.pk not in kept)
    accounting.add(repository.project, -freed)
    linked = Exists(BlobLink.objects.filter(blob=OuterRef("pk")))
    Blob.objects.filter(~linked, pk__in=gone).update(unlinked_at=now)
    return freed
