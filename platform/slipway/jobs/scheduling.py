"""Letting jobs go to their nodes: when the quota has room, and, for those that need one, a slot is free.

The order is ``jobs.fairness``'s. Whoever lets jobs go holds the lock of the node's queue, so however many
processes do it at once, slots are given out one at a time. It is done whenever a job was queued or has ended,
in a transaction of its own after the one that says so, and by the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from slipway import dispatch
from slipway.hints import publish_project
from slipway.jobs.fairness import Entry, Grant, Queue
from slipway.jobs.handlers import command_of, slot_kinds
from slipway.jobs.models import ACTIVE, Job, JobState, SlotQueue, Turn, Weight
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded
from slipway.projects.limits import limits_of_all
from slipway.projects.models import Project, Resource
from workers.errors import SlipwayError

log = structlog.get_logger(__name__)

RESEND_AFTER = timedelta(seconds=10)
HOLDER = "job"
SLOTS = 2
"""Of a node that does not say how many it has."""
SLOTS_MAX = 64


def admit(job: Job) -> bool:
    """Let the job go if the quota has room for all it claims; the caller saves and sends."""
    try:
        ledger.reserve(job.project, HOLDER, job.hex, job.claims)
    except QuotaExceeded:
        return False
    job.admitted_at = timezone.now()
    job.sends = 1
    job.resend_at = job.admitted_at + RESEND_AFTER
    return True


def slots_of(node: Node) -> int:
    """How many jobs that need a slot the node does at once."""
    told = node.facts.get("slots")
    return min(max(told, 0), SLOTS_MAX) if isinstance(told, int) else SLOTS


def schedule_soon(node_id: UUID) -> None:
    """Once the transaction has committed."""
    transaction.on_commit(lambda: schedule(node_id))


def schedule(node_id: UUID) -> int:
    """Let go the jobs whose turn it is on the node, as many as there are free slots; how many."""
    admitted = 0
    while _is_waited_for(node_id) and _let_one_go(node_id):
        admitted += 1
    return admitted


def _is_waited_for(node_id: UUID) -> bool:
    waiting = Job.objects.filter(node=node_id, state=JobState.QUEUED, admitted_at=None)
    return waiting.filter(kind__in=slot_kinds()).exists()


def _let_one_go(node_id: UUID) -> bool:
    """One transaction each: nobody holds the locks of two jobs or projects."""
    SlotQueue.objects.get_or_create(node_id=node_id)
    with transaction.atomic():
        locked = SlotQueue.objects.select_for_update(of=("self",)).select_related("node").get(node=node_id)
        if not locked.node.is_live():
            return False
        grant = load(locked.node, locked).grant()
        if grant is None or not _let_go(grant):
            return False
        SlotQueue.objects.filter(pk=locked.pk).update(clock=grant.began)
        Turn.objects.update_or_create(queue=locked, team_id=grant.entry.team, defaults={"ends": grant.ends})
    return True


def _let_go(grant: Grant) -> bool:
    """False when the job or the room for it has just gone; what took it ends, or the sweep looks again."""
    rows = Job.objects.select_for_update(of=("self",)).select_related("project__team", "node")
    job = rows.filter(pk=grant.entry.job, state=JobState.QUEUED, admitted_at=None).first()
    if job is None or not admit(job):
        return False
    job.save(update_fields=["admitted_at", "sends", "resend_at"])
    try:
        dispatch.send(command_of(job), job.node)
    except SlipwayError as error:
        # The sweep says so again and again; people cancel it.
        log.error("job_not_sendable", job=job.hex, error=error.message)
    publish_project(job.project_id.hex, "jobs")
    return True


def load(node: Node, row: SlotQueue | None) -> Queue:
    """The node's queue as the rows have it now."""
    jobs = Job.objects.filter(node=node, state__in=ACTIVE, kind__in=slot_kinds()).order_by()
    running, waiting = [], []
    for job in jobs.values_list("pk", "project__team_id", "project_id", "lock", "admitted_at", "created_at"):
        entry, admitted, created = Entry(*job[:4]), job[4], job[5]
        if admitted is None:
            waiting.append((created, entry.job.hex, entry))
        else:
            running.append((admitted, entry.job.hex, entry))
    entries = [entry for *_, entry in sorted(waiting)]
    return Queue(
        slots=slots_of(node),
        clock=row.clock if row else 0,
        waiting=entries,
        running=[entry for *_, entry in sorted(running)],
        ends=dict(Turn.objects.filter(queue=row).values_list("team_id", "ends")) if row else {},
        weights=dict(Weight.objects.values_list("team_id", "weight")),
        room=_room({entry.project for entry in entries}),
    )


def _room(projects: Iterable[object]) -> dict[object, int | None]:
    """How many more builds each project may have under way now; None: any number."""
    rows = list(Project.objects.filter(pk__in=list(projects)))
    limits, used = limits_of_all(rows), ledger.used_of_all([row.pk for row in rows], Resource.BUILDS)
    room: dict[object, int | None] = {}
    for project in rows:
        limit = limits[project.pk][Resource.BUILDS]
        room[project.pk] = None if limit is None else limit - used.get(project.pk, 0)
    return room
