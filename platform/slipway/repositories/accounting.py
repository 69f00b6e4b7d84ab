"""What a project's repositories hold of its quota: every blob once, every manifest, every open upload.

One line of the ledger stands for all blobs and manifests of a project: its repositories may have a hundred
thousand, and each request that reserves anything sums the project's lines.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, OuterRef, QuerySet, Sum

from slipway.projects import ledger
from slipway.projects.models import Project, Reservation, Resource
from slipway.repositories.models import Blob, BlobLink, Manifest, Upload

CONTENT = "repositories"
UPLOAD = "upload"


def reserve_upload(upload: Upload, amount: int) -> None:
    """Let the upload hold ``amount`` bytes at least. Raise ``QuotaExceeded``; nothing changed then."""
    if amount <= upload.reserved:
        return
    ledger.reserve(upload.repository.project, UPLOAD, upload.hex, {Resource.REGISTRY: amount})
    Upload.objects.filter(pk=upload.pk).update(reserved=amount)
    upload.reserved = amount


def lower_upload(upload: Upload, amount: int) -> None:
    ledger.settle(upload.repository.project_id, UPLOAD, upload.hex, {Resource.REGISTRY.value: amount})


def release_upload(upload: Upload) -> None:
    ledger.release(UPLOAD, upload.hex)


def add(project: Project, size: int, *, checked: bool = True) -> None:
    """The project holds ``size`` bytes more; call with ``lock`` held.

    Raise ``QuotaExceeded`` unless not ``checked``.
    """
    if size == 0:
        return
    if size > 0 and checked:
        ledger.require_room(project, {Resource.REGISTRY.value: size})
    if size > 0 and _mine(project.pk).update(amount=F("amount") + size):
        return
    ledger.settle(
        project.pk, CONTENT, project.hex, {Resource.REGISTRY.value: max(0, _held(project.pk) + size)}
    )


def lock(project: Project) -> None:
    """Until the commit nobody else changes what the project holds. The project's key stays free."""
    if not connection.features.has_select_for_update:
        return  # one transaction at a time writes anyway
    Project.objects.select_for_update(of=("self",), no_key=True).only("pk").get(pk=project.pk)


def content_of(project_id: UUID) -> int:
    """What the rows say that the project's blobs and manifests amount to; for checking the ledger."""
    mine = BlobLink.objects.filter(project=project_id, blob=OuterRef("pk"))
    blobs = Blob.objects.filter(Exists(mine)).aggregate(sum=Sum("size"))["sum"] or 0
    manifests = Manifest.objects.filter(repository__project=project_id).aggregate(sum=Sum("size"))["sum"] or 0
    return int(blobs) + int(manifests)


def _held(project_id: UUID) -> int:
    line = _mine(project_id).first()
    return line.amount if line else 0


def _mine(project_id: UUID) -> QuerySet[Reservation]:
    return Reservation.objects.filter(
        holder_kind=CONTENT, holder_id=project_id.hex, resource=Resource.REGISTRY
    )
