"""Whether the ledger of quotas says what the rows say; where it does not, it is put right."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction

from slipway.builds.facts import OUTPUT
from slipway.builds.models import Build
from slipway.builds.services import KEPT
from slipway.catalog.models import Image
from slipway.containers.claims import KIND as CONTAINER
from slipway.containers.claims import claims
from slipway.containers.models import Container
from slipway.events import IMAGE
from slipway.jobs.models import ACTIVE, Job
from slipway.jobs.scheduling import HOLDER as JOB
from slipway.projects import ledger
from slipway.projects.models import Project, Reservation, Resource
from slipway.repositories import accounting
from slipway.repositories.models import Upload

log = structlog.get_logger(__name__)

Holder = tuple[str, str]


def reconcile(now: datetime | None = None, *, dry_run: bool = False) -> int:
    """Recompute every project's ledger from its rows, report what differs, put it right; how much it was."""
    return sum(
        _reconcile(project, dry_run=dry_run)
        for project in Project.objects.only("id", "team").iterator(chunk_size=500)
        if _differences(project.pk)
    )


def _reconcile(project: Project, *, dry_run: bool) -> int:
    """Once more with the project's ledger locked: what was seen without may have been a change under way."""
    with transaction.atomic():
        Project.objects.select_for_update(of=("self",), no_key=True).get(pk=project.pk)
        found = _differences(project.pk)
        for (kind, holder), (held, wanted) in found.items():
            log.warning(
                "quota_drift", project=project.hex, kind=kind, holder=holder, held=held, wanted=wanted
            )
            if not dry_run:
                ledger.settle(project.pk, kind, holder, wanted)
    return len(found)


def _differences(project: UUID) -> dict[Holder, tuple[dict[str, int], dict[str, int]]]:
    """What each holder holds, and what it should, where that is not the same."""
    held = _held(project)
    wanted = {holder: claim for holder, claim in _wanted(project).items() if claim}
    return {
        holder: (held.get(holder, {}), wanted.get(holder, {}))
        for holder in held.keys() | wanted.keys()
        if held.get(holder, {}) != wanted.get(holder, {})
    }


def _held(project: UUID) -> dict[Holder, dict[str, int]]:
    held: dict[Holder, dict[str, int]] = {}
    lines = Reservation.objects.filter(project=project)
    for kind, holder, resource, amount in lines.values_list("holder_kind", "holder_id", "resource", "amount"):
        held.setdefault((kind, holder), {})[resource] = amount
    return held


def _wanted(project: UUID) -> dict[Holder, dict[str, int]]:
    wanted: dict[Holder, dict[str, int]] = {}
    for container in Container.objects.filter(project=project, removed_at=None):
        held = claims(container)
        wanted[CONTAINER, container.id] = {name: amount for name, amount in held.items() if amount}
    for image in Image.objects.filter(project=project, size__gt=0).only("id", "size"):
        wanted[IMAGE, image.hex] = {Resource.DISK.value: image.size}
    for build in Build.objects.filter(project=project, context_kept=True).only("id", "source"):
        wanted[KEPT, build.hex] = {Resource.DISK.value: int(build.source.get("size") or 0)}
    for build in Build.objects.filter(project=project, output_kept=True).only("id", "output_size"):
        wanted[OUTPUT, build.hex] = {Resource.DISK.value: build.output_size}
    for job in Job.objects.filter(project=project, state__in=ACTIVE).only("id", "claims", "admitted_at"):
        wanted[JOB, job.hex] = {
            name: amount
            for name, amount in job.claims.items()
            if amount and (job.admitted_at is not None or name != Resource.BUILDS)
        }
    if content := accounting.content_of(project):
        wanted[accounting.CONTENT, project.hex] = {Resource.REGISTRY.value: content}
    for upload in Upload.objects.filter(repository__project=project, reserved__gt=0):
        wanted[accounting.UPLOAD, upload.hex] = {Resource.REGISTRY.value: upload.reserved}
    return wanted
