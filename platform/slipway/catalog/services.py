"""Writes: images and their names. Rows of images appear and go with the node's events."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.errors import ImageInUse
from slipway.catalog.models import Image
from slipway.catalog.uses import uses_of
from slipway.jobs.models import Job, JobKind
from slipway.jobs.services import new_job, queue_job
from slipway.projects import ledger
from slipway.projects.models import Project, Resource
from workers.errors import InvalidReference
from workers.messages import ImportImage, RemoveImage
from workers.oci.digest import Digest
from workers.oci.reference import Reference

MAX_CHANGES = 100


def import_image(
    actor: Actor,
    project: Project,
    upload: str,
    *,
    repository: str | None = None,
    tag: str | None = None,
    changes: Sequence[str] = (),
    size: int = 0,
) -> Job:
    """Import the archive the node's agent took as ``upload`` (its digest) into the project.

    ``repository`` and ``tag`` name a plain rootfs or replace the archive's names; ``changes`` are
    Dockerfile lines for a plain rootfs; ``size`` of the archive is held of the project's disk until the
    image itself is counted. Raise ``NotFound``, ``NotAllowed``, ``InvalidDigest``,
    ``InvalidReference``, ``QuotaExceeded``, ``NoNode``.
    """
    require(actor, Action.WRITE, project)
    digest = str(Digest.parse(upload))
    require_owner_of_tag(repository, tag)
    name = parse_name(repository, tag) if repository is not None else None
    if len(changes) > MAX_CHANGES or any(len(change) > 4096 or "\0" in change for change in changes):
        raise InvalidRequest(f"changes: at most {MAX_CHANGES} lines of 4096 characters.", field="changes")
    job = new_job(JobKind.IMPORT_IMAGE, name.familiar if name else digest)
    command = ImportImage(
        job=job.hex,
        scope=project.hex,
        upload=digest,
        repository=name.familiar_name if name else None,
        tag=name.tag if name else None,
        changes=tuple(changes),
    )
    with transaction.atomic():
        queue_job(actor, project, job, command, {Resource.DISK.value: size})
        record(actor, "image.import", project, subject=job.subject, upload=digest)
    return job


def require_owner_of_tag(repository: str | None, tag: str | None) -> None:
    """Raise ``InvalidReference`` for a tag alone."""
    if repository is None and tag is not None:
        raise InvalidReference("A tag needs a repository to belong to.", reference=tag[:160])


def require_room(project: Project, size: int) -> None:
    """Raise ``QuotaExceeded`` if an archive of ``size`` could not be held now."""
    ledger.require_room(project, {Resource.DISK.value: size})


def remove_image(actor: Actor, image: Image) -> Job:
    """Withdraw the image from its project; its names go at once, its row with the node's answer.

    Raise ``NotFound``, ``NotAllowed``, ``ImageInUse`` (what stands in the way is in its facts).
    """
    require(actor, Action.WRITE, image)
    project = image.project
    job = new_job(JobKind.REMOVE_IMAGE, _subject(image))
    with transaction.atomic():
        Image.objects.select_for_update().get(pk=image.pk)
        if uses := uses_of(image):
            raise ImageInUse(uses)
        Image.objects.filter(pk=image.pk).update(withdrawn=True)
        names = [str(each) for each in image.references.all()]
        image.references.all().delete()
        queue_job(actor, project, job, RemoveImage(job=job.hex, scope=project.hex, image_id=image.image_id))
        record(actor, "image.remove", image, before={"names": names}, subject=job.subject)
    return job


def parse_name(repository: str, tag: str | None) -> Reference:
    """``repository`` with ``tag`` (default ``latest``). Raise ``InvalidReference``."""
    text = f"{repository}:{tag}" if tag else repository
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise InvalidReference(
            f"{text[:160]!r}: a name with a tag is needed, no digest.", reference=text[:160]
        )
    return reference


def _subject(image: Image) -> str:
    names = [str(reference) for reference in image.references.all()]
    return ", ".join(names) or image.image_id
