"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.mfa.models import Authenticator
from django.db.models import QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import MfaRequired, NotFound
from slipway.accounts.models import Membership, ProjectMembership, Team, Token
from slipway.accounts.policy import Action, can, require
from slipway.ids import parse_id

if TYPE_CHECKING:
    from slipway.projects.models import Project


def list_teams(actor: Actor) -> QuerySet[Team]:
    """Teams the actor is a member of; administrators see all. A project's token sees that project's."""
    teams = Team.objects.all()
    if not actor.is_administrator and not actor.is_robot:
        teams = teams.filter(memberships__user=actor.user)
    if actor.token is not None and actor.token.project_id is not None:
        teams = teams.filter(projects=actor.token.project_id)
    return teams.order_by("slug")


def get_team(actor: Actor, slug_or_id: str) -> Team:
    """Raise ``NotFound``; ``MfaRequired`` when the team waits for the actor's second factor."""
    found = parse_id(slug_or_id)
    teams = list_teams(actor)
    team = (teams.filter(pk=found) if found else teams.filter(slug=slug_or_id)).first()
    if team is None:
        raise NotFound(f"There is no team {slug_or_id[:60]!r} that you can see.")
    if team.pk in actor.locked_teams and not actor.is_administrator:
        raise MfaRequired
    return team


def get_own_team(actor: Actor, slug_or_id: str, username: str) -> Team:
    """As ``get_team``, but who is shut out for want of a second factor still finds the team to leave it."""
    leaving = actor.user is not None and actor.token is None and actor.user.username == username
    if not leaving:
        return get_team(actor, slug_or_id)
    team = list_teams(actor).filter(slug=slug_or_id).first()
    return team or get_team(actor, slug_or_id)


def list_members(actor: Actor, team: Team) -> QuerySet[Membership]:
    require(actor, Action.READ, team)
    return Membership.objects.filter(team=team).select_related("user").order_by("user__username")


def list_project_members(actor: Actor, project: Project) -> QuerySet[ProjectMembership]:
    """Those with a role of their own in the project. Raise ``NotFound``."""
    require(actor, Action.READ, project)
    return ProjectMembership.objects.filter(project=project).select_related("user").order_by("user__username")


def members_without_factor(actor: Actor, team: Team) -> set[str]:
    """User names of members who have no second factor. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.OWN, team)
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    members = Membership.objects.filter(team=team)
    secured = Authenticator.objects.filter(type__in=kinds).values("user")
    return set(members.exclude(user__in=secured).values_list("user__username", flat=True))


def list_tokens(actor: Actor) -> QuerySet[Token]:
    """The actor's own tokens, newest first; a project's token sees those of its project, a robot itself."""
    tokens = Token.objects.select_related("project__team", "created_by")
    if actor.is_robot and actor.token is not None:
        tokens = tokens.filter(pk=actor.token.pk)
    else:
        tokens = tokens.filter(user__isnull=False, user=actor.user)
    if actor.token is not None and actor.token.project_id is not None:
        tokens = tokens.filter(project=actor.token.project_id)
    return tokens.order_by("-created_at", "-id")


def list_project_tokens(actor: Actor, project: Project) -> QuerySet[Token]:
    """Its robots and the personal tokens bound to it, newest first. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.MANAGE, project)
    tokens = Token.objects.filter(project=project).select_related("project__team", "created_by", "user")
    return tokens.order_by("-created_at", "-id")


def get_token(actor: Actor, token_id: str) -> Token:
    """The actor's own, or one of a project they manage. Raise ``NotFound``."""
    key = parse_id(token_id)
    token = list_tokens(actor).filter(pk=key).first() if key else None
    if token is None and key is not None:
        bound = Token.objects.select_related("project__team", "created_by").filter(project__isnull=False)
        token = bound.filter(pk=key).first()
        if token is not None and not (token.project and can(actor, Action.MANAGE, token.project)):
            token = None
    if token is None:
        raise NotFound(f"You have no token {token_id[:60]!r}.")
    return token
