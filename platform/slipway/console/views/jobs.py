"""Jobs: the visible queue."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import live_page
from slipway.jobs.models import Job, JobKind, JobState
from slipway.jobs.queries import get_job, list_jobs
from slipway.pagination import paginate
from slipway.projects.queries import get_project, list_projects
from workers.messages import BakeImage, ImportImage, decode_command

PAGE = 50


@require_safe
@member_page
def job_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Of all projects, or of ``?project=<id>``."""
    only = request.GET.get("project", "")
    project = get_project(actor, only) if only else None
    cursor = request.GET.get("cursor", "")
    page = paginate(request, list_jobs(actor, project), ["-created_at", "-id"], cursor=cursor, limit=PAGE)
    watched = [project] if project else list_projects(actor)
    path = project.path if project else "acme/shop"
    context = {
        "project": project,
        "page": page,
        "topics": " ".join(f"project:{each.hex}" for each in list(watched)[:50]),
        "nav": "jobs",
        "calls": curls(request, Call("Jobs of a project", "GET", f"/projects/{path}/jobs")),
    }
    return live_page(request, "console/jobs.html", "console/_jobs.html", context)


@require_safe
@member_page
def job(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    found = get_job(actor, job_id)
    context = {
        "job": found,
        "steps": _steps(found),
        "ahead": _ahead(found),
        "result": _result(found),
        "nav": "jobs",
        "calls": curls(request, Call("This job", "GET", f"/projects/{found.project.path}/jobs/{found.hex}")),
    }
    return live_page(request, "console/job.html", "console/_job.html", context)


def _steps(found: Job) -> list[tuple[str, str]]:
    """The stepper: word and ``done``, ``now``, ``failed`` or ``next``."""
    work = JobKind(found.kind).label
    match found.state:
        case JobState.QUEUED:
            return [("Queued", "now"), (work, "next"), ("Done", "next")]
        case JobState.RUNNING:
            return [("Queued", "done"), (work, "now"), ("Done", "next")]
        case JobState.SUCCEEDED:
            return [("Queued", "done"), (work, "done"), ("Done", "done")]
    return [("Queued", "done"), (work, "failed"), (JobState(found.state).label, "failed")]


def _ahead(found: Job) -> int:
    """How many jobs of the same node wait or run before this one."""
    if found.state != JobState.QUEUED:
        return 0
    active = Job.objects.filter(node=found.node_id, state__in=[JobState.QUEUED, JobState.RUNNING])
    return active.filter(created_at__lt=found.created_at).count()


def _result(found: Job) -> str:
    """The name of the image a finished job made."""
    if found.state != JobState.SUCCEEDED:
        return ""
    command = decode_command(found.command)
    if isinstance(command, BakeImage | ImportImage) and command.repository:
        return f"{command.repository}:{command.tag or 'latest'}"
    return ""
