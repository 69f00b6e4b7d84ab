"""Jobs: the visible queue."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, can
from slipway.builds.models import Build
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import done, live_page
from slipway.jobs import services
from slipway.jobs.models import Job, JobKind, JobState
from slipway.jobs.queries import get_job, list_jobs, place
from slipway.pagination import paginate
from slipway.projects.queries import get_project, list_projects
from workers.errors import SlipwayError
from workers.messages import BakeImage, ImportImage, PullImage, decode_command

PAGE = 50
TRANSFERS = (JobKind.PULL_IMAGE, JobKind.PUSH_IMAGE)


@require_safe
@member_page
def job_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Of all projects, or of ``?project=<id>``."""
    only = request.GET.get("project", "")
    project = get_project(actor, only) if only else None
    cursor = request.GET.get("cursor", "")
    page = paginate(request, list_jobs(actor, project), ["-created_at", "-id"], cursor=cursor, limit=PAGE)
    place(page.items)
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
    build = Build.objects.filter(job=found.pk).first()
    if build is not None:
        # Its record says all that a job's page would, and more.
        return redirect("build", found.project.team.slug, found.project.slug, build.number)
    return show(request, actor, found)


@require_POST
@member_page
def job_act(request: HttpRequest, actor: Actor, job_id: str, action: str) -> HttpResponse:
    """Cancel or retry; what went wrong is told on the page itself."""
    found = get_job(actor, job_id)
    if action not in ("cancel", "retry"):
        raise Http404("A job is cancelled or retried.")
    try:
        if action == "cancel":
            services.cancel(actor, found)
            return done(request, "The job is being cancelled.", reverse("job", args=[found.hex]))
        made = services.retry(actor, found)
    except (NotAllowed, NotFound):
        raise
    except SlipwayError as error:
        return show(request, actor, get_job(actor, job_id), error, status=409)
    return done(request, "The job is done again.", reverse("job", args=[made.hex]))


def show(
    request: HttpRequest, actor: Actor, found: Job, error: SlipwayError | None = None, status: int = 200
) -> HttpResponse:
    path = f"/projects/{found.project.path}/jobs/{found.hex}"
    may_write = can(actor, Action.WRITE, found)
    context = {
        "job": found,
        "error": error,
        "may_cancel": may_write and found.is_active and found.cancel_requested_at is None,
        "may_retry": may_write and services.may_retry(found),
        "steps": _steps(found),
        "ahead": _ahead(found),
        "result": _result(found),
        "layers": found.layers if found.kind in TRANSFERS else [],
        "is_transfer": found.kind in TRANSFERS,
        "nav": "jobs",
        "calls": curls(
            request,
            Call("This job", "GET", path),
            Call("Follow what it writes", "GET", f"{path}/logs?follow=true"),
            Call("Cancel it", "POST", f"{path}/cancel"),
        ),
    }
    return live_page(request, "console/job.html", "console/_job.html", context, status)


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
    if isinstance(command, PullImage):
        return command.names[0] if command.names else found.subject
    return ""
