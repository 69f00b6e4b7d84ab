"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from django.db.models import QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.models import Membership, Team, Token
from slipway.accounts.policy import Action, require
from slipway.ids import parse_id


def list_teams(actor: Actor) -> QuerySet[Team]:
    """Teams the actor is a member of; administrators see all. A project's token sees that project's."""
    teams = Team.objects.all()
    if not actor.is_administrator:
        teams = teams.filter(memberships__user=actor.user)
    if actor.token is not None and actor.token.project_id is not None:
        teams = teams.filter(projects=actor.token.project_id)
    return teams.order_by("slug")


def get_team(actor: Actor, slug_or_id: str) -> Team:
    """Raise ``NotFound``."""
    found = parse_id(slug_or_id)
    teams = list_teams(actor)
    team = (teams.filter(pk=found) if found else teams.filter(slug=slug_or_id)).first()
    if team is None:
        raise NotFound(f"There is no team {slug_or_id[:60]!r} that you can see.")
    return team


def list_members(actor: Actor, team: Team) -> QuerySet[Membership]:
    require(actor, Action.READ, team)
    return Membership.objects.filter(team=team).select_related("user").order_by("user__username")


def list_tokens(actor: Actor) -> QuerySet[Token]:
    """The actor's own tokens, newest first; a project's token sees those of its project."""
    tokens = Token.objects.filter(user=actor.user).select_related("project__team")
    if actor.token is not None and actor.token.project_id is not None:
        tokens = tokens.filter(project=actor.token.project_id)
    return tokens.order_by("-created_at", "-id")


def get_token(actor: Actor, token_id: str) -> Token:
    """Raise ``NotFound``."""
    key = parse_id(token_id)
    token = list_tokens(actor).filter(pk=key).first() if key else None
    if token is None:
        raise NotFound(f"You have no token {token_id[:60]!r}.")
    return token
