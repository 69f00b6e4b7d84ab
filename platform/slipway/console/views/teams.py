"""A team: its members, invitations and settings; and the page an invitation's link leads to."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway import deletion
from slipway.accounts import doorway, invitations, letters, memberships, queries
from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvitationGone
from slipway.accounts.models import Role, Team, User
from slipway.accounts.policy import Action, can
from slipway.console.calls import Call, curls
from slipway.console.forms import Styled, blame
from slipway.console.members import actor_of, member_page
from slipway.console.views.answers import done
from slipway.projects.models import Project
from slipway.projects.queries import list_projects
from workers.errors import UserError

SHOWN_MAX = 200


class RoleForm(Styled):
    username = forms.CharField(label="User name", max_length=150)
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.DEVELOPER)


class InvitationForm(Styled):
    email = forms.EmailField(
        label="E-mail", required=False, help_text="Leave empty to pass the link on yourself."
    )
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.DEVELOPER)
    project = forms.ChoiceField(label="To", required=False)
    days = forms.IntegerField(label="Days until it expires", min_value=1, max_value=30, initial=7)

    def __init__(self, *args: Any, projects: list[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "the whole team"), *((each.slug, f"only {each.path}") for each in projects)]
        cast(forms.ChoiceField, self.fields["project"]).choices = choices


@require_safe
@member_page
def team_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    teams = [(team, actor.roles.get(team.pk)) for team in queries.list_teams(actor)[:SHOWN_MAX]]
    context = {"teams": teams, "nav": "teams", "calls": curls(request, Call("My teams", "GET", "/teams"))}
    return render(request, "console/teams.html", context)


@require_safe
@member_page
def team(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    return _page(request, actor, queries.get_team(actor, slug))


def _page(
    request: HttpRequest,
    actor: Actor,
    found: Team,
    *,
    form: InvitationForm | None = None,
    link: str = "",
    status: int = 200,
) -> HttpResponse:
    manages, owns = can(actor, Action.MANAGE, found), can(actor, Action.OWN, found)
    projects = list(list_projects(actor, found)[:SHOWN_MAX])
    context = {
        "team": found,
        "members": queries.list_members(actor, found)[:SHOWN_MAX],
        "projects": projects,
        "invitations": invitations.list_invitations(actor, found)[:SHOWN_MAX] if manages else [],
        "without_factor": queries.members_without_factor(actor, found) if owns else set(),
        "form": form or InvitationForm(projects=projects),
        "role_form": RoleForm(),
        "roles": Role.choices,
        "link": link,
        "manages": manages,
        "owns": owns,
        "nav": "teams",
        "calls": _calls(request, found),
    }
    response = render(request, "console/team.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _calls(request: HttpRequest, team: Team) -> Any:
    path = f"/teams/{team.slug}"
    return curls(
        request,
        Call("Members", "GET", f"{path}/members"),
        Call("Add one or change a role", "PUT", f"{path}/members/ada", {"role": "developer"}),
        Call("Invite by link", "POST", f"{path}/invitations", {"role": "developer"}),
    )


@require_POST
@member_page
def member_set(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    found, form = queries.get_team(actor, slug), RoleForm(request.POST)
    if not form.is_valid():
        return _told(request, found, "Choose a user name and a role.")
    asked = form.cleaned_data
    try:
        memberships.set_member(actor, found, asked["username"], Role(asked["role"]))
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"{asked['username']} is {asked['role']} now.", reverse("team", args=[slug]))


@require_POST
@member_page
def member_remove(request: HttpRequest, actor: Actor, slug: str, username: str) -> HttpResponse:
    found = queries.get_own_team(actor, slug, username)
    leaving = actor.user is not None and actor.user.username == username
    try:
        memberships.remove_member(actor, found, username)
    except UserError as error:
        return _told(request, found, error.message)
    if leaving:
        return done(request, f"You have left {slug}.", reverse("teams"))
    return done(request, f"{username} is no member any more.", reverse("team", args=[slug]))


@require_POST
@member_page
def invite(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    """The link is part of this one answer and of nothing else."""
    found = queries.get_team(actor, slug)
    projects = list(list_projects(actor, found)[:SHOWN_MAX])
    form = InvitationForm(request.POST, projects=projects)
    if not form.is_valid():
        return _page(request, actor, found, form=form, status=422)
    asked = form.cleaned_data
    try:
        with transaction.atomic():
            made, secret = invitations.invite(
                actor,
                found,
                Role(asked["role"]),
                project=next((each for each in projects if each.slug == asked["project"]), None),
                email=asked["email"],
                days=asked["days"],
            )
            link = letters.link_of(request, secret)
            letters.send_invitation(made, link)
    except UserError as error:
        blame(form, error)
        return _page(request, actor, found, form=form, status=422)
    return _page(request, actor, found, link=link, status=201)


@require_POST
@member_page
def invitation_withdraw(request: HttpRequest, actor: Actor, slug: str, invitation_id: str) -> HttpResponse:
    found = queries.get_team(actor, slug)
    invitations.withdraw(actor, invitations.get_invitation(actor, found, invitation_id))
    return done(request, "The invitation is withdrawn.", reverse("team", args=[slug]))


@require_POST
@member_page
def team_change(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    found, name = queries.get_team(actor, slug), request.POST.get("name", "")
    try:
        with transaction.atomic():
            if name != found.name:
                memberships.rename_team(actor, found, name)
            memberships.set_requires_mfa(actor, found, request.POST.get("requires_mfa") == "on")
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, "Saved.", reverse("team", args=[slug]))


@require_POST
@member_page
def team_transfer(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    found, heir = queries.get_team(actor, slug), request.POST.get("username", "").strip()
    try:
        memberships.transfer_ownership(actor, found, heir)
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"{heir} owns {slug} now; you are a maintainer.", reverse("team", args=[slug]))


@require_POST
@member_page
def team_delete(request: HttpRequest, actor: Actor, slug: str) -> HttpResponse:
    found = queries.get_team(actor, slug)
    try:
        deletion.delete_team(actor, found, request.POST.get("confirm", "").strip())
    except UserError as error:
        return _told(request, found, error.message)
    return done(request, f"Team {slug} is gone.", reverse("teams"))


def _told(request: HttpRequest, team: Team, text: str) -> HttpResponse:
    messages.error(request, text)
    return redirect("team", team.slug)


@never_cache
@require_safe
def invitation_open(request: HttpRequest) -> HttpResponse:
    """Take the secret out of the address at once; the session remembers which invitation it opened."""
    try:
        found = invitations.open_invitation(request.GET.get("token", ""))
    except InvitationGone as error:
        return render(request, "account/invitation_gone.html", {"why": error.message}, status=410)
    doorway.stash_invitation(request, found)
    return redirect("invitation")


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest) -> HttpResponse:
    """Accept when signed in; else the ways to get in."""
    found = doorway.find_stashed_invitation(request)
    if found is None:
        why = "This invitation was used, withdrawn or has expired, or this browser has not opened one."
        return render(request, "account/invitation_gone.html", {"why": why}, status=410)
    if request.method == "POST" and isinstance(request.user, User):
        try:
            invitations.accept(actor_of(request), found)
        except InvitationGone as error:
            return render(request, "account/invitation_gone.html", {"why": error.message}, status=410)
        doorway.drop_invitation(request)
        place = found.project
        url = reverse("project", args=[found.team.slug, place.slug]) if place else reverse("projects")
        return done(request, f"Welcome to {place.path if place else found.team.name}.", url)
    return render(request, "account/invitation.html", {"invitation": found})
