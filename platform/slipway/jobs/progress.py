"""What nodes tell of jobs, written to the rows; and what follows when a job has ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from slipway.hints import publish_project
from slipway.ids import parse_id
from slipway.jobs.handlers import handler_of
from slipway.jobs.models import ACTIVE, Job, JobLayers, JobState
from slipway.jobs.scheduling import HOLDER, schedule_soon
from slipway.jobs.services import admit_waiting
from slipway.nodes.models import Node
from slipway.projects import ledger

log = structlog.get_logger(__name__)

LEASE_LOST = "LEASE_LOST"
QUEUE_TIMEOUT = "QUEUE_TIMEOUT"


def find(job_id: str, node: Node) -> Job | None:
    """The row, locked; None for what this node has no business with."""
    key = parse_id(job_id)
    rows = Job.objects.select_for_update(of=("self",)).select_related("project__team")
    return rows.filter(pk=key, node=node).first() if key else None


def begin(row: Job, at: datetime) -> bool:
    """It runs. Whether that was news."""
    if row.state != JobState.QUEUED:
        return False
    _write(row, state=JobState.RUNNING, started_at=at, **_leased(row))
    return True


def go_on(job_id: str, node: Node, **columns: Any) -> UUID | None:
    """It is alive; ``columns`` say how far it is. The project to be told, None when nobody need be.

    The commonest event by far: it costs one row read and one written, and locks nothing for longer.
    """
    key = parse_id(job_id)
    if key is None:
        return None
    rows = Job.objects.filter(pk=key, node=node, state__in=ACTIVE)
    known: dict[str, Any] | None = rows.values("project_id", "kind", "cancel_requested_at", *columns).first()
    if known is None:
        return None
    until = timezone.now() + handler_of(known["kind"]).lease
    leased: dict[str, Any] = {"lease_until": until}
    if known["cancel_requested_at"] is None:
        # A wish to cancel keeps its own time of sending.
        leased |= {"resend_at": until, "sends": 1}
        rows = rows.filter(cancel_requested_at=None)
    rows.update(**columns, **leased)
    return known["project_id"] if any(known[name] != value for name, value in columns.items()) else None


def note_layers(job_id: str, node: Node, layers: list[list[Any]]) -> UUID | None:
    """How far the layers of a pull or push are. The project to be told, None when nobody need be."""
    key = parse_id(job_id)
    job = Job.objects.filter(pk=key, node=node).only("project_id").first() if key else None
    if job is None:
        return None
    JobLayers.objects.update_or_create(job=job, defaults={"layers": layers})
    return job.project_id


def end(row: Job, state: JobState, at: datetime, cause: dict[str, Any] | None = None) -> bool:
    """It has ended: what it held is free, the next one may go. Whether that was news.

    A job given up for want of its worker is put right by what the worker says in the end.
    """
    given_up = row.state == JobState.FAILED and (row.cause or {}).get("code") == LEASE_LOST
    if row.state not in ACTIVE and not given_up:
        return False
    if state == JobState.CANCELLED and cause is None and row.state in ACTIVE:
        cause = row.cause  # said when the end was wished: what took its place
    _write(row, state=state, ended_at=at, cause=cause, resend_at=None, lease_until=None)
    ledger.release(HOLDER, row.hex)
    handler = handler_of(row.kind)
    if state != JobState.SUCCEEDED:
        handler.undo(row)
    handler.ended(row)
    admit_waiting(row.project)
    # Also after a job that held none: what it held of the quota may be all that others wait for.
    schedule_soon(row.node_id)
    return True


def give_up(row_id: UUID, now: datetime) -> bool:
    """Fail a job whose worker is silent although its node lives and has told all it knows."""
    with transaction.atomic():
        row = Job.objects.select_for_update(of=("self",)).select_related("project__team").get(pk=row_id)
        if row.lease_until is None or row.lease_until > now:
            return False
        silent = int((now - row.lease_until + handler_of(row.kind).lease).total_seconds())
        cause = {
            "code": LEASE_LOST,
            "message": f"Its worker has said nothing for {silent} s and did not take it up again.",
            "facts": {"seconds": silent},
        }
        log.warning("job_given_up", job=row.hex, kind=row.kind, seconds=silent)
        return end(row, JobState.FAILED, now, cause)


def attempt_again(row: Job) -> bool:
    """Raise its attempt; false when it ended or was heard of this moment."""
    running = Job.objects.filter(pk=row.pk, state=JobState.RUNNING, attempt=row.attempt)
    if not running.filter(lease_until=row.lease_until).update(attempt=row.attempt + 1):
        return False
    row.attempt += 1
    log.warning("job_attempted_again", job=row.hex, attempt=row.attempt)
    publish_project(row.project_id.hex, "jobs")
    return True


def expire(row_id: UUID, now: datetime) -> bool:
    """Fail a job that still waits although it was to begin before ``now``."""
    with transaction.atomic():
        row = Job.objects.select_for_update(of=("self",)).select_related("project__team").get(pk=row_id)
        if row.state != JobState.QUEUED or row.admitted_at is not None:
            return False
        minutes = round((now - row.created_at).total_seconds() / 60)
        cause = {
            "code": QUEUE_TIMEOUT,
            "message": f"It waited for {minutes} min and its turn did not come; try again later.",
            "facts": {"minutes": minutes},
        }
        publish_project(row.project_id.hex, "jobs")
        return end(row, JobState.FAILED, now, cause)


def _leased(row: Job) -> dict[str, Any]:
    """By our clock: the node's may be wrong. A wish to cancel keeps its own time of sending."""
    until = timezone.now() + handler_of(row.kind).lease
    return {"lease_until": until} | ({} if row.cancel_requested_at else {"resend_at": until, "sends": 1})


def _write(row: Job, **columns: Any) -> None:
    Job.objects.filter(pk=row.pk).update(**columns)
    for name, value in columns.items():
        setattr(row, name, value)
