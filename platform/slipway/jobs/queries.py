"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet, Window
from django.db.models.functions import RowNumber

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.ids import parse_id
from slipway.jobs.models import ACTIVE, Job, JobState
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

    One query: only the jobs that queue are numbered, however many others there are.
    """
    queued = {job.pk: job for job in jobs if job.state == JobState.QUEUED}
    if not queued:
        return
    number = Window(RowNumber(), partition_by="node", order_by=["created_at", "id"])
    numbered = Job.objects.filter(state=JobState.QUEUED).order_by().annotate(number=number)
    nodes = {job.node_id for job in queued.values()}
    for key, position in numbered.filter(node__in=nodes).values_list("pk", "number"):
        if key in queued:
            queued[key].position = position


def _loaded() -> QuerySet[Job]:
    return Job.objects.select_related("project__team", "node", "created_by", "retry_of")
