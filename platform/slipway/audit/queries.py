"""Reads: what of the log an actor may see, and what they look for in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.models import Team
from slipway.accounts.policy import Action, can, require
from slipway.accounts.queries import list_teams
from slipway.audit.models import Entry

CHUNK = 1000


@dataclass(frozen=True)
class Search:
    """Empty: any."""

    actor: str = ""
    """A user's name; ``name (slp_prefix)`` for one of their tokens."""
    action: str = ""
    """``container.start``, or ``container.*``."""
    object: str = ""
    """An id, or part of a name."""
    since: datetime | None = None
    until: datetime | None = None


def list_entries(actor: Actor, team: Team | None = None, search: Search = Search()) -> QuerySet[Entry]:
    """Newest first. Administrators see all, others the teams they manage; a project's token that project.

    Raise ``NotFound`` or ``NotAllowed`` for a ``team`` whose log is not for them.
    """
    return _found(_visible(actor, team), search).order_by("-seq")


def _visible(actor: Actor, team: Team | None) -> QuerySet[Entry]:
    if team is not None:
        require(actor, Action.MANAGE, team)
        return Entry.objects.filter(team_id=team.pk)
    if sees_all(actor):
        return Entry.objects.all()
    return Entry.objects.filter(team_id__in=[each.pk for each in managed_teams(actor)])


def sees_all(actor: Actor) -> bool:
    """An administrator, in person: a token of theirs sees no more than their teams."""
    return actor.is_administrator and actor.token is None


def managed_teams(actor: Actor) -> list[Team]:
    """Those whose log the actor may read."""
    return [team for team in list_teams(actor) if can(actor, Action.MANAGE, team)]


def _found(entries: QuerySet[Entry], search: Search) -> QuerySet[Entry]:
    if search.actor:
        entries = entries.filter(Q(actor=search.actor) | Q(actor__startswith=f"{search.actor} ("))
    if search.action.endswith("*"):
        entries = entries.filter(action__startswith=search.action.rstrip("*"))
    elif search.action:
        entries = entries.filter(action=search.action)
    if search.object:
        entries = entries.filter(Q(object_id=search.object) | Q(object_name__icontains=search.object))
    if search.since is not None:
        entries = entries.filter(at__gte=search.since)
    if search.until is not None:
        entries = entries.filter(at__lt=search.until)
    return entries


def in_order(entries: QuerySet[Entry]) -> Iterator[Entry]:
    """Oldest first, a chunk in memory at a time."""
    seq = 0
    while chunk := list(entries.filter(seq__gt=seq).order_by("seq")[:CHUNK]):
        yield from chunk
        seq = chunk[-1].seq
