"""A project's settings: who has a role of their own here, robots and tokens, deletion."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from slipway import deletion
from slipway.accounts import memberships, queries, services
from slipway.accounts.actors import Actor
from slipway.accounts.models import Role, Token
from slipway.accounts.policy import Action, can, require
from slipway.console.calls import Call, curls
from slipway.console.forms import TokenForm, blame
from slipway.console.members import member_page
from slipway.console.views.answers import done
from slipway.console.views.teams import RoleForm
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from workers.errors import UserError

SHOWN_MAX = 200


@require_http_methods(["GET", "POST"])
@member_page
def settings(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """POST makes a robot; its secret is part of this one answer and of nothing else."""
    found = get_project_by_path(actor, team, slug)
    require(actor, Action.MANAGE, found)
    form = _robot_form(found, request.POST or None)
    made: tuple[Token, str] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            made = services.issue_token(
                actor,
                form.cleaned_data["name"],
                scopes=[form.cleaned_data["scope"]],
                project=found,
                expires_at=form.expiry(),
                robot=True,
            )
        except UserError as error:
            blame(form, error)
        else:
            form = _robot_form(found, None)
    status = 201 if made else 422 if form.errors else 200
    context = _context(request, actor, found) | {
        "form": form,
        "made": made[0] if made else None,
        "secret": made[1] if made else "",
    }
    response = render(request, "console/project_settings.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _robot_form(project: Project, data: Any) -> TokenForm:
    form = TokenForm(data, projects=[project])
    del form.fields["project"]
    return form


def _context(request: HttpRequest, actor: Actor, project: Project) -> dict[str, Any]:
    owns = can(actor, Action.OWN, project)
    tokens = queries.list_project_tokens(actor, project).filter(revoked_at=None)
    path = f"/projects/{project.path}"
    return {
        "project": project,
        "members": queries.list_project_members(actor, project)[:SHOWN_MAX],
        "tokens": tokens[:SHOWN_MAX],
        "role_form": RoleForm(),
        "roles": [pair for pair in Role.choices if pair[0] != Role.OWNER],
        "losses": deletion.list_losses(actor, project) if owns and not project.library else None,
        "owns": owns,
        "now": timezone.now(),
        "nav": "projects",
        "calls": curls(
            request,
            Call("Tokens of this project", "GET", f"{path}/tokens"),
            Call("Make a robot", "POST", "/tokens", {"name": "ci", "project": project.path, "robot": True}),
            Call("Delete it", "DELETE", f"{path}?confirm={project.path}"),
        ),
    }


@require_POST
@member_page
def member_set(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    found, form = get_project_by_path(actor, team, slug), RoleForm(request.POST)
    if not form.is_valid():
        return _told(request, found, "Choose a user name and a role.")
    asked = form.cleaned_data
    try:
        memberships.set_project_member(actor, found, asked["username"], Role(asked["role"]))
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"{asked['username']} is {asked['role']} here now.", _url(found))


@require_POST
@member_page
def member_remove(request: HttpRequest, actor: Actor, team: str, slug: str, username: str) -> HttpResponse:
    found = get_project_by_path(actor, team, slug)
    try:
        memberships.remove_project_member(actor, found, username)
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"{username} has no role of their own here any more.", _url(found))


@require_POST
@member_page
def token_revoke(request: HttpRequest, actor: Actor, team: str, slug: str, token_id: str) -> HttpResponse:
    found = get_project_by_path(actor, team, slug)
    token = queries.get_token(actor, token_id)
    services.revoke_token(actor, token)
    return done(request, f"{token.name} opens nothing any more.", _url(found))


@require_POST
@member_page
def clear(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    found = get_project_by_path(actor, team, slug)
    losses = deletion.clear_project(actor, found)
    text = f"{losses.containers} container(s) are being removed; unused images, too."
    return done(request, text, _url(found))


@require_POST
@member_page
def delete(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    found = get_project_by_path(actor, team, slug)
    try:
        deletion.delete_project(actor, found, request.POST.get("confirm", "").strip())
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"Project {team}/{slug} is gone.", reverse("projects"))


def _url(project: Project) -> str:
    return reverse("project-settings", args=[project.team.slug, project.slug])


def _told(request: HttpRequest, project: Project, text: str) -> HttpResponse:
    messages.error(request, text)
    return redirect(_url(project))
