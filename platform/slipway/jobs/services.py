"""Writes: jobs as people wish them. What nodes tell of them is in ``jobs.progress``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from slipway import dispatch
from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.hints import publish_project
from slipway.jobs.errors import JobActive, JobEnded, NotRepeatable
from slipway.jobs.handlers import JobCommand, command_of, handler_of, never_again, slot_kinds
from slipway.jobs.models import Job, JobKind, JobState
from slipway.jobs.scheduling import HOLDER, admit, schedule_soon
from slipway.nodes.services import ensure_home
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded
from slipway.projects.limits import limits_of
from slipway.projects.models import Project, Resource
from workers.messages import CancelJob, encode

CANCEL_AGAIN = timedelta(seconds=5)


def queue_job(
    actor: Actor, project: Project, job: Job, command: JobCommand, claims: Mapping[str, int] | None = None
) -> Job:
    """Save ``job`` with its ``command``, which is sent on commit, or once the project's quota has room.

    A job of a kind that needs a slot waits for its turn in any case.
    ``claims`` are held from now to the job's end. Raise ``NoNode``, ``QuotaExceeded``.
    """
    with transaction.atomic():
        job.project = project
        job.node = ensure_home(project)
        job.command = encode(command)
        job.created_by = actor.user
        job.created_by_name = actor.label[:200]
        job.is_bound = actor.token is not None and actor.token.project_id is not None
        job.claims = {str(name): amount for name, amount in (claims or {}).items()}
        ledger.reserve(project, HOLDER, job.hex, job.claims)
        handler = handler_of(job.kind)
        if handler.is_build:
            _require_slots(project)
            job.claims[Resource.BUILDS.value] = 1
        if not handler.needs_slot:
            admit(job)
        job.save(force_insert=True)
        if job.admitted_at is not None:
            dispatch.send(handler.complete(job, command), job.node)
        elif handler.needs_slot:
            schedule_soon(job.node.pk)
        publish_project(project.hex, "jobs")
    return job


def _require_slots(project: Project) -> None:
    """Without any the job would wait for ever."""
    limit = limits_of(project)[Resource.BUILDS]
    if limit is not None and limit < 1:
        raise QuotaExceeded(project.path, Resource.BUILDS, limit, 0, 1)


def admit_waiting(project: Project) -> int:
    """Let go the project's jobs that wait for quota alone, oldest first, as many as have room; how many."""
    waiting = Job.objects.filter(project=project, state=JobState.QUEUED, admitted_at=None)
    waiting = waiting.exclude(kind__in=slot_kinds())
    if not waiting.exists():
        return 0
    admitted = 0
    with transaction.atomic():
        for job in (
            waiting.select_for_update(of=("self",)).select_related("node").order_by("created_at", "id")
        ):
            job.project = project
            if not admit(job):
                break
            job.save(update_fields=["admitted_at", "sends", "resend_at"])
            dispatch.send(command_of(job), job.node)
            admitted += 1
    return admitted


def new_job(kind: JobKind, subject: str) -> Job:
    """An unsaved job: its id is known, so the command can carry it."""
    return Job(kind=kind, subject=subject[:300])


def cancel(actor: Actor, job: Job) -> Job:
    """Wish the job ended. One that its node has never seen ends at once, any other by the node's answer.

    Safe to repeat. Raise ``NotFound``, ``NotAllowed``, ``JobEnded``.
    """
    require(actor, Action.WRITE, job)
    with transaction.atomic():
        row = _locked(job)
        if row.state == JobState.CANCELLED:
            return row
        if not row.is_active:
            raise JobEnded(f"The job has {row.state} already.", state=row.state)
        if row.cancel_requested_at is not None:
            return row
        now = timezone.now()
        row.cancel_requested_at = now
        if row.admitted_at is None:
            _end_unsent(row)
        else:
            row.resend_at, row.sends = now + CANCEL_AGAIN, 1
            dispatch.send(CancelJob(row.hex), row.node)
        row.save(update_fields=["cancel_requested_at", "state", "ended_at", "resend_at", "sends"])
        publish_project(row.project.hex, "jobs")
        record(actor, "job.cancel", row.project, job=row.hex, kind=row.kind, subject=row.subject)
    return row


def _end_unsent(row: Job) -> None:
    row.state, row.ended_at = JobState.CANCELLED, timezone.now()
    ledger.release(HOLDER, row.hex)
    handler = handler_of(row.kind)
    handler.undo(row)
    handler.ended(row)


def retry(actor: Actor, job: Job) -> Job:
    """A new job that does the same as one that failed or was cancelled.

    Raise ``NotFound``, ``NotAllowed``, ``JobActive``, ``JobEnded`` (it succeeded), ``NotRepeatable``,
    ``QuotaExceeded``, ``NoNode``.
    """
    require(actor, Action.WRITE, job)
    with transaction.atomic():
        row = _locked(job)
        if row.is_active:
            raise JobActive("The job is still under way; cancel it first.", state=row.state)
        if row.state == JobState.SUCCEEDED:
            raise JobEnded("The job has succeeded; there is nothing to do again.", state=row.state)
        made = Job(id=uuid4(), kind=row.kind, subject=row.subject, retry_of=row)
        command = handler_of(row.kind).again(row, made.hex)
        if command is None:
            raise NotRepeatable("What this job worked on is gone; upload the archive again.", kind=row.kind)
        claims = {name: amount for name, amount in row.claims.items() if name != Resource.BUILDS}
        queue_job(actor, row.project, made, command, claims)
        record(actor, "job.retry", row.project, job=made.hex, of=row.hex, kind=row.kind, subject=row.subject)
    return made


def may_retry(job: Job) -> bool:
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        return False
    return handler_of(job.kind).again is not never_again


def _locked(job: Job) -> Job:
    return Job.objects.select_for_update(of=("self",)).select_related("project__team", "node").get(pk=job.pk)
