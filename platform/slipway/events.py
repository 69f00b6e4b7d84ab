"""The only door up: apply what a node tells to the rows, each event any number of times.

The one writer of every ``observed`` column. The caller holds a transaction and publishes the hints when it
has committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import singledispatch

import structlog

from slipway import dispatch
from slipway.builds import facts as builds
from slipway.catalog import facts as origins
from slipway.catalog.models import Image, ImageLayer, Reference
from slipway.containers import facts
from slipway.containers.claims import KIND as CONTAINER
from slipway.containers.claims import claims
from slipway.containers.models import ALIVE, Container
from slipway.hints import Hint, container_hints, project_hint
from slipway.ids import parse_id
from slipway.jobs import progress
from slipway.jobs.models import Job, JobState
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.models import Project, ProjectRemoval, Resource
from workers.errors import InvalidReference
from workers.messages import (
    BuildDropped,
    BuildFinished,
    BuildProgressed,
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Event,
    ImageImported,
    ImagePushed,
    ImageRemoved,
    Inventory,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    LayerFacts,
    LayersProgressed,
    LogsDropped,
    ProjectDropped,
    RemoveContainer,
)
from workers.oci import reference as oci

log = structlog.get_logger(__name__)

Hints = tuple[Hint, ...]
PROGRESS_LENGTH = 500
LAYERS_MAX = 500
IMAGE = "image"
"""The holder of an image's bytes in the ledger."""


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
    for name, value in columns.items():
        setattr(row, name, value)
    ledger.settle(row.project_id, CONTAINER, row.id, claims(row))
    word = "removed" if "removed_at" in columns else "state"
    return container_hints(row.id, row.project_id.hex, word)


@_apply.register
def _logs_dropped(event: LogsDropped, node: Node, at: datetime) -> Hints:
    gone = Container.objects.filter(pk=event.container, node=node, removed_at__isnull=False)
    gone.filter(logs_dropped_at=None).update(logs_dropped_at=at)
    return ()


@_apply.register
def _project_dropped(event: ProjectDropped, node: Node, at: datetime) -> Hints:
    if key := parse_id(event.project):
        ProjectRemoval.objects.filter(project_id=key, node=node, done_at=None).update(done_at=at)
    return ()


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
    row = _job(event.job, node)
    return _told(row) if row is not None and progress.begin(row, at) else ()


@_apply.register
def _job_progressed(event: JobProgressed, node: Node, at: datetime) -> Hints:
    project = progress.go_on(
        event.job, node, detail=event.detail[:PROGRESS_LENGTH], done=event.done, total=event.total
    )
    return (project_hint(project.hex, "jobs"),) if project else ()


@_apply.register
def _job_succeeded(event: JobSucceeded, node: Node, at: datetime) -> Hints:
    return _ended(event.job, node, JobState.SUCCEEDED, at)


@_apply.register
def _job_failed(event: JobFailed, node: Node, at: datetime) -> Hints:
    return _ended(event.job, node, JobState.FAILED, at, asdict(event.cause))


@_apply.register
def _job_cancelled(event: JobCancelled, node: Node, at: datetime) -> Hints:
    return _ended(event.job, node, JobState.CANCELLED, at)


def _ended(
    job_id: str, node: Node, state: JobState, at: datetime, cause: dict[str, object] | None = None
) -> Hints:
    row = _job(job_id, node)
    return _told(row) if row is not None and progress.end(row, state, at, cause) else ()


def _job(job_id: str, node: Node) -> Job | None:
    row = progress.find(job_id, node)
    if row is None:
        log.warning("event_of_unknown_job", job=job_id)
    return row


def _told(row: Job) -> Hints:
    return (project_hint(row.project_id.hex, "jobs"),)


# --------------------------------------------------------------------------- builds


@_apply.register
def _build_progressed(event: BuildProgressed, node: Node, at: datetime) -> Hints:
    return builds.progressed(event, node)


@_apply.register
def _build_finished(event: BuildFinished, node: Node, at: datetime) -> Hints:
    return builds.finished(event, node)


@_apply.register
def _build_dropped(event: BuildDropped, node: Node, at: datetime) -> Hints:
    return builds.dropped(event, node, at)


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
    ledger.settle(project.pk, IMAGE, image.hex, {Resource.DISK.value: image.size})
    for text in event.references:
        _point(project, image, text, at)
    if event.origin is not None:
        origins.note_pull(progress.find(event.job, node), image, event.origin, at)
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
    for image in Image.objects.filter(project=project, image_id=event.image_id):
        ledger.release(IMAGE, image.hex)
        image.delete()
    return (project_hint(project.hex, "images"),)


@_apply.register
def _layers_progressed(event: LayersProgressed, node: Node, at: datetime) -> Hints:
    layers = [[each.digest, each.state, each.done, each.total] for each in event.layers[:LAYERS_MAX]]
    project = progress.note_layers(event.job, node, layers)
    return (project_hint(project.hex, "jobs"),) if project else ()


@_apply.register
def _image_pushed(event: ImagePushed, node: Node, at: datetime) -> Hints:
    project = _project(event.scope, node)
    image = Image.objects.filter(project=project, image_id=event.image_id).first() if project else None
    if project is None or image is None:
        log.warning("event_of_unknown_image", scope=event.scope, image=event.image_id)
        return ()
    origins.note_push(_job(event.job, node), image, event, at)
    return (project_hint(project.hex, "images"),)


def _project(scope: str, node: Node) -> Project | None:
    key = parse_id(scope)
    return Project.objects.filter(pk=key, node=node).first() if key else None


def event_time(seconds: float) -> datetime:
    """When a journal says something happened."""
    return datetime.fromtimestamp(seconds, UTC)
