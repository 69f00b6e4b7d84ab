"""The only door up: apply what a node tells to the rows, each event any number of times.

The one writer of every ``observed`` column. The caller holds a transaction and publishes the hints when it
has committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import singledispatch

import structlog

from slipway import dispatch
from slipway.catalog.models import Image, ImageLayer, Reference
from slipway.containers import facts
from slipway.containers.models import ALIVE, Container
from slipway.hints import Hint, container_hints, project_hint
from slipway.ids import parse_id
from slipway.jobs.models import ACTIVE, Job, JobKind, JobState
from slipway.jobs.services import RESEND_RUNNING_AFTER
from slipway.nodes.models import Node
from slipway.projects.models import Project
from workers.errors import InvalidReference
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Event,
    ImageImported,
    ImageRemoved,
    Inventory,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    LayerFacts,
    RemoveContainer,
    RemoveImage,
    decode_command,
)
from workers.oci import reference as oci

log = structlog.get_logger(__name__)

Hints = tuple[Hint, ...]
PROGRESS_LENGTH = 500


def apply(event: Event, node: Node, at: datetime) -> Hints:
    """Apply ``event``, which ``node`` wrote at ``at``; return the hints to publish after the commit.

    What the platform does not know, or what belongs to another node, is logged and passed over.
    """
    return _apply(event, node, at)


@singledispatch
def _apply(event: object, node: Node, at: datetime) -> Hints:
    raise TypeError(f"No rule for {type(event).__name__}")


# --------------------------------------------------------------------------- containers


@_apply.register(ContainerStarted)
@_apply.register(ContainerExited)
@_apply.register(ContainerFailed)
@_apply.register(ContainerRemoved)
def _container(event: facts.ContainerEvent, node: Node, at: datetime) -> Hints:
    row = Container.objects.select_for_update().filter(pk=event.container, node=node).first()
    if row is None:
        # Made by the debugging command on the node, or by somebody who is not us.
        log.warning("event_of_unknown_container", container=event.container, kind=type(event).__name__)
        return ()
    return _write(row, facts.after(row, event, at))


def _write(row: Container, columns: facts.Columns | None) -> Hints:
    if not columns:
        return ()
    # No save(): the columns of intent may be changing under us.
    Container.objects.filter(pk=row.pk).update(**columns)
    word = "removed" if "removed_at" in columns else "state"
    return container_hints(row.id, row.project_id.hex, word)


@_apply.register
def _inventory(event: Inventory, node: Node, at: datetime) -> Hints:
    """Correct what is wrong: lost containers have exited, removed ones are removed again."""
    held = {each.container: each for each in event.containers}
    hints: list[Hint] = []
    for row in Container.objects.filter(node=node, removed_at=None, observed__in=ALIVE):
        columns = facts.after_inventory(row, held.get(row.id), at)
        if columns:
            log.warning("container_corrected", container=row.id, columns=sorted(columns))
            hints += _write(row, columns)
    _remove_again(node, list(held))
    return tuple(hints)


def _remove_again(node: Node, held: list[str]) -> None:
    gone = Container.objects.filter(node=node, pk__in=held, removed_at__isnull=False)
    for row in gone.only("id", "desired_generation", "observed_generation"):
        log.warning("container_removed_again", container=row.id)
        generation = max(row.desired_generation, row.observed_generation) + 1
        dispatch.send(RemoveContainer(row.id, generation), node)


# --------------------------------------------------------------------------- jobs


@_apply.register
def _job_started(event: JobStarted, node: Node, at: datetime) -> Hints:
    return _job(
        event.job,
        node,
        (JobState.QUEUED,),
        state=JobState.RUNNING,
        started_at=at,
        resend_at=_silent_until(at),
    )


@_apply.register
def _job_progressed(event: JobProgressed, node: Node, at: datetime) -> Hints:
    return _job(
        event.job,
        node,
        ACTIVE,
        detail=event.detail[:PROGRESS_LENGTH],
        done=event.done,
        total=event.total,
        resend_at=_silent_until(at),
    )


@_apply.register
def _job_succeeded(event: JobSucceeded, node: Node, at: datetime) -> Hints:
    return _job(event.job, node, ACTIVE, state=JobState.SUCCEEDED, ended_at=at, resend_at=None)


@_apply.register
def _job_failed(event: JobFailed, node: Node, at: datetime) -> Hints:
    cause = asdict(event.cause)
    _restore_withdrawn(event.job)
    return _job(event.job, node, ACTIVE, state=JobState.FAILED, ended_at=at, cause=cause, resend_at=None)


def _job(job_id: str, node: Node, states: Collection[str], **columns: object) -> Hints:
    key = parse_id(job_id)
    row = Job.objects.filter(pk=key, node=node).only("project_id", "state").first() if key else None
    if row is None:
        log.warning("event_of_unknown_job", job=job_id)
        return ()
    if row.state not in states:
        return ()
    Job.objects.filter(pk=row.pk).update(**columns)
    return (project_hint(row.project_id.hex, "jobs"),)


def _silent_until(at: datetime) -> datetime:
    return at + RESEND_RUNNING_AFTER


# --------------------------------------------------------------------------- images


@_apply.register
def _image_imported(event: ImageImported, node: Node, at: datetime) -> Hints:
    project = _project(event.scope, node)
    if project is None:
        log.warning("event_of_unknown_project", scope=event.scope, kind="ImageImported")
        return ()
    image, created = Image.objects.update_or_create(
        project=project,
        image_id=event.image_id,
        defaults={
            "manifest_digest": event.manifest_digest,
            "config": event.config,
            "size": sum(layer.unpacked_size for layer in event.layers),
            "withdrawn": False,
        },
    )
    if created:
        _write_layers(image, event.layers)
    for text in event.references:
        _point(project, image, text, at)
    return (project_hint(project.hex, "images"),)


def _write_layers(image: Image, layers: Iterable[LayerFacts]) -> None:
    ImageLayer.objects.bulk_create(
        ImageLayer(
            image=image,
            position=position,
            digest=layer.digest,
            diff_id=layer.diff_id,
            size=layer.size,
            unpacked_size=layer.unpacked_size,
        )
        for position, layer in enumerate(layers)
    )


def _point(project: Project, image: Image, text: str, at: datetime) -> None:
    """Let the name point at the image, away from where it pointed; a later pointing stays."""
    try:
        name = oci.Reference.parse(text)
    except InvalidReference as error:
        log.warning("reference_passed_over", reference=text[:200], error=error.message)
        return
    if name.tag is None:
        return
    Reference.objects.update_or_create(
        project=project, name=name.familiar_name, tag=name.tag, defaults={"image": image, "updated_at": at}
    )


@_apply.register
def _image_removed(event: ImageRemoved, node: Node, at: datetime) -> Hints:
    project = _project(event.scope, node)
    if project is None:
        return ()
    Image.objects.filter(project=project, image_id=event.image_id).delete()
    return (project_hint(project.hex, "images"),)


def _restore_withdrawn(job_id: str) -> None:
    """A removal that failed leaves the image usable by its id."""
    key = parse_id(job_id)
    job = Job.objects.filter(pk=key, kind=JobKind.REMOVE_IMAGE, state__in=ACTIVE).first() if key else None
    if job is not None:
        command = decode_command(job.command)
        if isinstance(command, RemoveImage):
            Image.objects.filter(project=job.project_id, image_id=command.image_id).update(withdrawn=False)


def _project(scope: str, node: Node) -> Project | None:
    key = parse_id(scope)
    return Project.objects.filter(pk=key, node=node).first() if key else None


def event_time(seconds: float) -> datetime:
    """When a journal says something happened."""
    return datetime.fromtimestamp(seconds, UTC)
