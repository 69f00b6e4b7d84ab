"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from django.db.models import QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.ids import parse_id
from slipway.jobs.models import ACTIVE, Job
from slipway.projects.models import Project
from slipway.projects.queries import list_projects


def list_jobs(actor: Actor, project: Project | None = None, *, active: bool = False) -> QuerySet[Job]:
    """Jobs of the project, or of all the actor sees; newest first."""
    jobs = Job.objects.select_related("project__team", "created_by")
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
    job = Job.objects.select_related("project__team", "created_by").filter(pk=key).first() if key else None
    if job is None or not can(actor, Action.READ, job):
        raise NotFound(f"There is no job {job_id[:60]!r} that you can see.")
    return job
