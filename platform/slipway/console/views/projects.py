"""Teams and projects."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.models import Team
from slipway.accounts.policy import Action, can
from slipway.accounts.queries import get_team, list_members, list_teams
from slipway.accounts.services import create_team
from slipway.catalog.queries import list_images
from slipway.console import overview
from slipway.console.calls import Call, curls
from slipway.console.forms import ProjectForm, TeamForm, blame
from slipway.console.members import member_page
from slipway.console.views.answers import done, live_page
from slipway.containers.models import ALIVE, Container, State
from slipway.containers.queries import list_containers
from slipway.jobs.queries import list_jobs
from slipway.pagination import paginate
from slipway.projects.models import Project
from slipway.projects.queries import find_library, get_project_by_path
from slipway.projects.services import create_project
from slipway.projects.usage import usage
from workers.errors import SlipwayError, UserError

PAGE = 50
FILTERS: dict[str, Q] = {
    "running": Q(observed__in=ALIVE),
    "failed": Q(observed=State.EXITED) & ~Q(exit_code=0) | Q(observed=State.DEAD),
    "finished": Q(observed=State.EXITED, exit_code=0),
}


@require_safe
@member_page
def project_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    cards = overview.cards(actor)
    library = find_library()
    if library is not None and all(card.project.pk != library.pk for card in cards):
        cards.append(overview.Card(library))
    context = {
        "cards": cards,
        "nav": "projects",
        "calls": curls(request, Call("My projects", "GET", "/projects")),
    }
    return live_page(request, "console/projects.html", "console/_projects.html", context)


@require_safe
@member_page
def project(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    found = get_project_by_path(actor, team, slug)
    state, words = request.GET.get("state", ""), request.GET.get("q", "").strip()
    page = paginate(
        request,
        _containers(actor, found, state, words),
        ["-created_at", "-id"],
        cursor=request.GET.get("cursor", ""),
        limit=PAGE,
    )
    context = {
        "project": found,
        "page": page,
        "filtered": bool(state or words),
        "state": state,
        "words": words,
        "counts": overview.container_counts([found]).get(found.pk, overview.Counts()),
        "jobs": list_jobs(actor, found, active=True)[:5],
        "may_write": can(actor, Action.WRITE, found),
        "nav": "projects",
    }
    if request.headers.get("HX-Request") != "true":
        context |= _around(request, actor, found)
    return live_page(request, "console/project.html", "console/_containers.html", context)


def _containers(actor: Actor, project: Project, state: str, words: str) -> QuerySet[Container]:
    containers = list_containers(actor, project, removed=state == "removed")
    if state == "removed":
        containers = containers.exclude(removed_at=None)
    containers = containers.filter(FILTERS.get(state, Q()))
    for word in words.split():
        named = Q(name__icontains=word) | Q(image_name__icontains=word) | Q(id__startswith=word.lower())
        containers = containers.filter(named)
    return containers


def _around(request: HttpRequest, actor: Actor, project: Project) -> dict[str, Any]:
    """What the page shows beside the live table."""
    sees_team = can(actor, Action.READ, project.team)
    path = f"/projects/{project.path}/containers"
    return {
        "members": list_members(actor, project.team)[:20] if sees_team else [],
        "sees_team": sees_team,
        "may_manage": can(actor, Action.MANAGE, project),
        "images": list_images(actor, project)[:5],
        "uses": usage(project),
        "calls": curls(
            request,
            Call("Containers of this project", "GET", path),
            Call("Run one", "POST", path, {"image": "busybox", "command": ["echo", "hello"], "start": True}),
        ),
    }


@require_http_methods(["GET", "POST"])
@member_page
def team_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    form = TeamForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            team = create_team(actor, form.cleaned_data["slug"], form.cleaned_data["name"])
        except UserError as error:
            blame(form, error, {"name": "slug"})
        else:
            return done(request, f"Team {team.slug} is there.", f"{reverse('project-new')}?team={team.slug}")
    context = {"form": form, "nav": "projects", "calls": _team_calls(request)}
    return render(request, "console/team_new.html", context, status=422 if form.errors else 200)


def _team_calls(request: HttpRequest) -> Any:
    return curls(request, Call("Create a team", "POST", "/teams", {"slug": "acme", "name": "Acme"}))


@require_http_methods(["GET", "POST"])
@member_page
def project_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    teams = [team for team in list_teams(actor) if can(actor, Action.MANAGE, team)]
    form = ProjectForm(request.POST or None, teams=teams, initial={"team": request.GET.get("team")})
    if request.method == "POST" and form.is_valid():
        try:
            made = create_project(
                actor, _team_of(actor, form), form.cleaned_data["slug"], form.cleaned_data["name"]
            )
        except SlipwayError as error:
            blame(form, error, {"name": "slug"})
        else:
            url = reverse("project", args=[made.team.slug, made.slug])
            return done(request, f"Project {made.path} is there.", url)
    body = {"team": teams[0].slug if teams else "acme", "slug": "shop"}
    calls = curls(request, Call("Create a project", "POST", "/projects", body))
    context = {"form": form, "nav": "projects", "calls": calls}
    return render(request, "console/project_new.html", context, status=422 if form.errors else 200)


def _team_of(actor: Actor, form: ProjectForm) -> Team:
    if "team" in form.cleaned_data:
        return get_team(actor, form.cleaned_data["team"])
    return create_team(actor, form.cleaned_data["new_team"])
