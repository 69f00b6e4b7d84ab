"""What nodes tell of images that came from or went to a registry, written to the rows. Safe to repeat."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog

from slipway.catalog.models import Image, UpstreamTag
from slipway.catalog.models import Origin as Trace
from slipway.catalog.registries import Registries
from slipway.catalog.upstream import UPSTREAM
from slipway.jobs.models import Job
from workers.errors import BadCommand, InvalidReference
from workers.messages import ImagePushed, Origin, PullImage, decode_command
from workers.oci.reference import Reference

log = structlog.get_logger(__name__)


def note_pull(job: Job | None, image: Image, origin: Origin, at: datetime) -> None:
    """``image`` came from a registry; what was fetched there is remembered for whoever may have it."""
    reference = _written(origin.reference, job)
    if reference is None:
        return
    _trace(image, Trace.Kind.PULL, reference, origin, at)
    if job is None:
        return
    if origin.stale:
        Job.objects.filter(pk=job.pk).update(detail=f"Taken from the cache: {origin.stale}"[:500])
    command = _pull_of(job)
    by_tag = reference.tag is not None and reference.digest is None
    if command is not None and by_tag and not Registries.of_settings().is_ours(reference):
        _remember(command, image, reference, origin, at)


def note_push(job: Job | None, image: Image, event: ImagePushed, at: datetime) -> None:
    """The image lies in a registry now; the job says how much of it had to go there."""
    reference = _written(event.reference, job)
    # Where a project pushes an image of the library is its own affair, not the library's.
    if reference is not None and (job is None or job.project_id == image.project_id):
        _trace(image, Trace.Kind.PUSH, reference, Origin(event.reference, event.manifest_digest), at)
    if job is not None:
        Job.objects.filter(pk=job.pk).update(detail=_summary(event))


def _summary(event: ImagePushed) -> str:
    counts = ((event.uploaded, "uploaded"), (event.mounted, "mounted"), (event.existed, "there already"))
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"Pushed {event.manifest_digest[:19]}; layers: {told or 'none'}."


def _written(text: str, job: Job | None) -> Reference | None:
    """As people write it, which is what the job is about: nodes may know our registry by another name."""
    try:
        reference = Reference.parse(text)
        if job is not None and Registries.of_settings().is_ours(reference):
            return Reference.parse(job.subject)
        return reference
    except InvalidReference as error:
        log.warning("reference_passed_over", reference=text[:200], error=error.message)
        return None


def _trace(image: Image, kind: Trace.Kind, reference: Reference, origin: Origin, at: datetime) -> None:
    Trace.objects.update_or_create(
        image=image,
        kind=kind,
        name=reference.familiar_name,
        tag="" if reference.digest else reference.tag or "",
        digest=origin.digest,
        defaults={
            "index_digest": origin.index_digest or "",
            "stale": (origin.stale or "")[:500],
            "at": at,
        },
    )


def _pull_of(job: Job) -> PullImage | None:
    try:
        command = decode_command(job.command)
    except BadCommand:  # written by another version of us
        return None
    return command if isinstance(command, PullImage) else None


def _remember(command: PullImage, image: Image, reference: Reference, origin: Origin, at: datetime) -> None:
    is_for_all = command.shared_scope == UPSTREAM and command.access.username is None
    key: dict[str, Any] = {
        "name": reference.name,
        "tag": reference.tag or "",
        "platform": command.platform or "",
        "project": None if is_for_all else image.project,
    }
    said = {
        "digest": origin.digest,
        "index_digest": origin.index_digest or "",
        "image_id": image.image_id,
        "size": image.size,
        "fetched_at": at,
        "used_at": at,
    }
    was_asked = origin.stale is None and origin.digest != command.known_digest
    if was_asked:
        UpstreamTag.objects.update_or_create(**key, defaults=said)
    else:
        UpstreamTag.objects.filter(**key).update(used_at=at)
