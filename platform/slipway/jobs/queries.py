"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.ids import parse_id
from slipway.jobs.fairness import order
from slipway.jobs.handlers import slot_kinds
from slipway.jobs.models import ACTIVE, Job, JobState, SlotQueue
from slipway.jobs.scheduling import load
from slipway.nodes.models import Node
from slipway.projects.models import Project
from slipway.projects.queries import list_projects


def list_jobs(actor: Actor, project: Project | None = None, *, active: bool = False) -> QuerySet[Job]:
    """Jobs of the project, or of all the actor sees; newest first."""
    jobs = _loaded()
    if project is not None:
        require(actor, Action.READ, project)
        jobs = jobs.filter(project=project)
    else:
        jobs = jobs.filter(project__in=list_projects(actor).order_by().values("pk"))
    if active:
        jobs = jobs.filter(state__in=ACTIVE)
    return jobs.order_by("-created_at", "-id")


def get_job(actor: Actor, job_id: str) -> Job:
    """Raise ``NotFound``."""
    key = parse_id(job_id)
    job = _loaded().filter(pk=key).first() if key else None
    if job is None or not can(actor, Action.READ, job):
        raise NotFound(f"There is no job {job_id[:60]!r} that you can see.")
    place([job])
    return job


def place(jobs: Iterable[Job]) -> None:
    """Tell each of ``jobs`` its ``position``: 1 for the next to begin on its node; None once it has begun.

    Those that need a slot are numbered apart from the others, in the order in which they will begin.
    One query for all others: only the jobs that queue are numbered, however many others there are.
    """
    jobs = [job for job in jobs if job.state == JobState.QUEUED]
    _place_in_slots([job for job in jobs if job.kind in slot_kinds() and job.admitted_at is None])
    queued = {job.pk: job for job in jobs if job.kind not in slot_kinds()}
    if not queued:
        return
    number = Window(RowNumber(), partition_by="node", order_by=["created_at", "id"])
    numbered = Job.objects.filter(state=JobState.QUEUED).exclude(kind__in=slot_kinds()).order_by()
    numbered = numbered.annotate(number=number)
    nodes = {job.node_id for job in queued.values()}
    for key, position in numbered.filter(node__in=nodes).values_list("pk", "number"):
        if key in queued:
            queued[key].position = position


@dataclass(frozen=True)
class Share:
    """A team's part of a node's slots at this moment."""

    team: str
    weight: int
    running: int
    waiting: int


def shares(node: Node) -> list[Share]:
    """Of all teams with jobs in slots of ``node`` or waiting for one, for administrators; the caller has
    looked who asks."""
    held = Count("pk", filter=Q(admitted_at__isnull=False))
    lines = (
        Job.objects.filter(node=node, state__in=ACTIVE, kind__in=slot_kinds())
        .order_by("project__team__slug")
        .values_list("project__team__slug", "project__team__weight__weight")
        .annotate(running=held, waiting=Count("pk", filter=Q(admitted_at=None)))
    )
    return [Share(team, weight or 1, running, waiting) for team, weight, running, waiting in lines]


def _place_in_slots(jobs: list[Job]) -> None:
    rows = {row.node_id: row for row in SlotQueue.objects.filter(node__in={job.node_id for job in jobs})}
    for node in {job.node_id: job.node for job in jobs}.values():
        queue = load(node, rows.get(node.pk))
        entries = {entry.job: entry for entry in queue.waiting}
        mine = [job for job in jobs if job.node_id == node.pk and job.pk in entries]
        for job in mine:
            job.reason = queue.reason(entries[job.pk]) if node.is_live() else "node"
        numbers = {key: number for number, key in enumerate(order(queue), 1)}
        for job in mine:
            job.position = numbers[job.pk]


def _loaded() -> QuerySet[Job]:
    return Job.objects.select_related("project__team", "node", "created_by", "retry_of")
