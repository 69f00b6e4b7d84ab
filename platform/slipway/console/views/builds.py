"""Builds: the list, the form, and the page that is the record of one."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, can, require
from slipway.builds import api, queries, services
from slipway.builds.models import Build, BuildState, StepState
from slipway.builds.registries import Account
from slipway.builds.repeating import contexts_needed, registries_needed
from slipway.console.build_forms import BuildForm
from slipway.console.calls import Call, curls
from slipway.console.forms import blame
from slipway.console.members import member_page, waiting_page
from slipway.console.views.answers import done, live_page
from slipway.jobs.models import JobState
from slipway.pagination import paginate
from slipway.projects.queries import get_project_by_path
from slipway.threads import look
from workers.errors import SlipwayError, UserError

PAGE = 50
STEPS_SHOWN = 500
FIELDS = {"dockerfile_text": "dockerfile_text", "url": "remote", "tags": "tags", "": ""}
ACTS = ("cancel", "retry", "retry-anew")


@require_safe
@member_page
def build_list(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    state = request.GET.get("state", "")
    rows = queries.list_builds(actor, project, state=state if state in BuildState.values else None)
    cursor = request.GET.get("cursor", "")
    page = paginate(request, rows, ["-created_at", "-id"], cursor=cursor, limit=PAGE)
    queries.place(page.items)
    path = f"/projects/{project.path}/builds"
    context = {
        "project": project,
        "page": page,
        "state": state,
        "states": BuildState.choices,
        "may_write": can(actor, Action.WRITE, project),
        "nav": "projects",
        "calls": curls(
            request,
            Call("Builds of this project", "GET", path),
            Call(
                "Build a repository",
                "POST",
                path,
                {"remote": "https://github.com/acme/web.git", "tags": ["web"]},
            ),
        ),
    }
    return live_page(request, "console/builds.html", "console/_builds.html", context)


@require_http_methods(["GET", "POST"])
@member_page
def build_new(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """The form; an archive goes to the REST door, which passes it on as it comes."""
    project = get_project_by_path(actor, team, slug)
    require(actor, Action.WRITE, project)
    form = BuildForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            build = services.create_build(actor, project, form.wanted())
        except (NotAllowed, NotFound):
            raise
        except UserError as error:
            blame(form, error, FIELDS | ({"": "tags"} if error.code == "REFERENCE_INVALID" else {}))
        else:
            return redirect("build", team, slug, build.number)
    path = f"/projects/{project.path}/builds"
    tar = ("-H 'Content-Type: application/x-tar'", "-T context.tar")
    context = {
        "project": project,
        "form": form,
        "door": f"/api/v1{path}",
        "nav": "projects",
        "calls": curls(
            request,
            Call("Build a Dockerfile", "POST", path, {"dockerfile_text": "FROM busybox\n", "tags": ["web"]}),
            Call(
                "Build a repository",
                "POST",
                path,
                {"remote": "https://github.com/acme/web.git", "tags": ["web"]},
            ),
            Call("Build an archive", "POST", f"{path}?tags=web", flags=tar),
        ),
    }
    return render(request, "console/build_new.html", context, status=400 if form.errors else 200)


@require_safe
@member_page
def build(request: HttpRequest, actor: Actor, team: str, slug: str, number: int) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    return show(request, actor, queries.get_build(actor, project, str(number)))


@require_POST
@waiting_page
async def build_act(
    request: HttpRequest, actor: Actor, team: str, slug: str, number: int, action: str
) -> HttpResponse:
    """Cancel or retry; what went wrong is told on the page itself."""
    found = await look(_find, actor, team, slug, number)
    if action not in ACTS:
        raise Http404("A build is cancelled or retried.")
    try:
        if action == "cancel":
            await sync_to_async(services.cancel)(actor, found)
            address = reverse("build", args=[team, slug, found.number])
            return await sync_to_async(done)(request, "The build is being cancelled.", address)
        made = await api.retry(
            actor,
            found,
            no_cache=action == "retry-anew",
            secrets=_secrets(request, found),
            password=request.POST.get("password") or None,
            contexts=_contexts(request, found),
            registries=_registries(request, found),
            dockerfile_text=request.POST.get("dockerfile_text", "").replace("\r\n", "\n") or None,
        )
    except (NotAllowed, NotFound):
        raise
    except SlipwayError as error:
        return await sync_to_async(_refused)(request, actor, team, slug, number, error)
    return redirect("build", team, slug, made.number)


def _find(actor: Actor, team: str, slug: str, number: int) -> Build:
    return queries.get_build(actor, get_project_by_path(actor, team, slug), str(number))


def _secrets(request: HttpRequest, found: Build) -> dict[str, str]:
    given = {key: request.POST.get(f"secret-{key}", "") for key in found.secret_ids}
    return {key: value for key, value in given.items() if value}


def _contexts(request: HttpRequest, found: Build) -> dict[str, str]:
    given = {name: request.POST.get(f"context-{name}", "") for name in contexts_needed(found)}
    return {name: value for name, value in given.items() if value}


def _registries(request: HttpRequest, found: Build) -> dict[str, Account]:
    """``user:password`` each."""
    given = {host: request.POST.get(f"registry-{host}", "") for host in registries_needed(found)}
    parts = {host: text.partition(":") for host, text in given.items() if ":" in text}
    return {host: Account(username, password) for host, (username, _, password) in parts.items()}


def _refused(
    request: HttpRequest, actor: Actor, team: str, slug: str, number: int, error: SlipwayError
) -> HttpResponse:
    return show(request, actor, _find(actor, team, slug, number), error, status=409)


def show(
    request: HttpRequest, actor: Actor, found: Build, error: SlipwayError | None = None, status: int = 200
) -> HttpResponse:
    path = f"/projects/{found.project.path}/builds/{found.number}"
    may_write = can(actor, Action.WRITE, found)
    steps = list(found.steps.all()[:STEPS_SHOWN])
    if len(steps) == STEPS_SHOWN:
        rest = found.steps.filter(position__gt=steps[-1].position)
        steps += list(rest.filter(state__in=(StepState.FAILED, StepState.RUNNING))[:STEPS_SHOWN])
    context = {
        "build": found,
        "job": found.job,
        "project": found.project,
        "steps": steps,
        "steps_cut": max(0, found.steps_total - len(steps)),
        "counts": _counts(steps),
        "phases": _phases(found),
        "image": queries.image_of(found),
        "error": error,
        "may_cancel": may_write and found.is_active and found.job.cancel_requested_at is None,
        "contexts_needed": contexts_needed(found),
        "registries_needed": registries_needed(found),
        "may_retry": may_write and services.may_retry(found),
        "may_run": may_write and not found.project.library,
        "nav": "projects",
        "calls": curls(
            request,
            Call("This build, step by step", "GET", path),
            Call("Follow what it writes", "GET", f"{path}/logs?follow=true"),
            Call("Cancel it", "POST", f"{path}/cancel"),
            Call("Build it once more", "POST", f"{path}/retry", {"no_cache": True}),
        ),
    }
    return live_page(request, "console/build.html", "console/_build.html", context, status)


def _counts(steps: list[Any]) -> dict[str, int]:
    ended = (StepState.CACHED, StepState.DONE)
    return {
        "all": len([step for step in steps if step.state != StepState.SKIPPED]),
        "done": len([step for step in steps if step.state in ended]),
        "cached": len([step for step in steps if step.state == StepState.CACHED]),
    }


def _phases(found: Build) -> list[tuple[str, str]]:
    """The stepper: word and ``done``, ``now``, ``failed`` or ``next``."""
    match found.job.state:
        case JobState.QUEUED:
            return [("Queued", "now"), ("Build", "next"), ("Image", "next")]
        case JobState.RUNNING:
            return [("Queued", "done"), ("Build", "now"), ("Image", "next")]
        case JobState.SUCCEEDED:
            return [("Queued", "done"), ("Build", "done"), ("Image", "done")]
    if found.job.started_at is None:
        return [("Queued", "failed"), ("Build", "next"), ("Image", "next")]
    return [("Queued", "done"), ("Build", "failed"), ("Image", "next")]
