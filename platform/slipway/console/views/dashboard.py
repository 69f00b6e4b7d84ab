"""The first page, signed in or not, and what the palette can jump to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.models import User
from slipway.console import overview
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import live_page
from slipway.console.views.catalog import found_repositories, wanted_of
from slipway.containers.queries import list_containers
from slipway.jobs.queries import list_jobs
from slipway.nodes.queries import list_nodes
from slipway.projects.queries import find_library, list_projects
from slipway.repositories.access import Access

PALETTE_CONTAINERS = 200


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The dashboard; for everybody else the front page."""
    if isinstance(request.user, User):
        return dashboard(request)
    wanted = wanted_of(request, "public")
    context = found_repositories(request, Access(), wanted) | {"query": wanted.words}
    return render(request, "console/front.html", context)


@member_page
def dashboard(request: HttpRequest, actor: Actor) -> HttpResponse:
    now = timezone.now()
    context = {
        "cards": overview.cards(actor),
        "concerns": overview.concerns(actor, now),
        "activity": overview.activity(actor),
        "jobs": list_jobs(actor, active=True)[:5],
        "nodes": [(node, node.is_live(now)) for node in list_nodes(actor)],
        "nav": "home",
        "calls": curls(
            request,
            Call("My projects", "GET", "/projects"),
            Call("Jobs under way", "GET", "/jobs?active=true"),
        ),
    }
    return live_page(request, "console/dashboard.html", "console/_dashboard.html", context)


@require_safe
@member_page
def palette(request: HttpRequest, actor: Actor) -> HttpResponse:
    """What Ctrl/Cmd+K can jump to."""
    return JsonResponse({"items": [*_pages(actor), *_projects(actor), *_containers(actor)]})


def _item(label: str, hint: str, icon: str, url: str) -> dict[str, str]:
    return {"label": label, "hint": hint, "icon": icon, "url": url}


def _pages(actor: Actor) -> list[dict[str, str]]:
    pages = [
        _item("Dashboard", "page", "layout-dashboard", reverse("home")),
        _item("Projects", "page", "folder", reverse("projects")),
        _item("Catalog", "page", "package", reverse("catalog")),
        _item("Teams", "page", "users", reverse("teams")),
        _item("Jobs", "page", "list-check", reverse("jobs")),
        _item("Your account", "page", "user", reverse("profile")),
        _item("Sessions", "page", "device-desktop", reverse("sessions")),
        _item("Second factor", "page", "shield-check", reverse("mfa_index")),
        _item("Access tokens", "page", "key", reverse("tokens")),
        _item("New project", "create", "plus", reverse("project-new")),
        _item("New team", "create", "plus", reverse("team-new")),
    ]
    if actor.is_administrator:
        pages.append(_item("Recipes", "page", "package", reverse("recipes")))
        pages.append(_item("Nodes", "page", "server", reverse("nodes")))
    return pages


def _projects(actor: Actor) -> list[dict[str, str]]:
    projects = {project.pk: project for project in list_projects(actor)}
    library = find_library()
    if library is not None:
        projects.setdefault(library.pk, library)
    found = []
    for project in projects.values():
        place = [project.team.slug, project.slug]
        found.append(_item(project.path, "project", "folder", reverse("project", args=place)))
        found.append(_item(f"{project.path} images", "images", "stack-2", reverse("images", args=place)))
    return found


def _containers(actor: Actor) -> list[dict[str, str]]:
    return [
        _item(each.name, f"{each.project.path} · {each.state}", "box", reverse("container", args=[each.id]))
        for each in list_containers(actor)[:PALETTE_CONTAINERS]
    ]
