"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from django.db.models import Case, Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

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
    return job


def _loaded() -> QuerySet[Job]:
    """With ``position``: 1 for the next to begin on its node; None for what does not queue any more."""
    created = OuterRef("created_at")
    earlier = Q(created_at__lt=created) | Q(created_at=created, id__lt=OuterRef("id"))
    ahead = Job.objects.filter(earlier, node=OuterRef("node"), state=JobState.QUEUED).order_by()
    count = Coalesce(Subquery(ahead.values("node").annotate(count=Count("pk")).values("count")), Value(0))
    queued = When(state=JobState.QUEUED, then=count + 1)
    jobs = Job.objects.select_related("project__team", "node", "created_by", "retry_of")
    return jobs.annotate(position=Case(queued, default=None, output_field=IntegerField()))
