"""Who may do what: one function, asked by every service and every query."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from uuid import UUID

from slipway.accounts.actors import Actor
from slipway.accounts.errors import MfaRequired, NotAllowed, NotFound, ScopeMissing
from slipway.accounts.models import Role, TokenScope
from slipway.accounts.scope import Scope, Scoped


class Action(StrEnum):
    READ = "read"
    WRITE = "write"
    """Containers, images, jobs."""
    MANAGE = "manage"
    """Projects of a team, developers and viewers, limits."""
    OWN = "own"
    """The team itself and everybody in it."""


_NONE: frozenset[Action] = frozenset()
_READ = frozenset({Action.READ})
_WRITE = _READ | {Action.WRITE}
_MANAGE = _WRITE | {Action.MANAGE}
_ALL = frozenset(Action)

BY_ROLE: dict[Role, frozenset[Action]] = {
    Role.VIEWER: _READ,
    Role.DEVELOPER: _WRITE,
    Role.MAINTAINER: _MANAGE,
    Role.OWNER: _ALL,
}
BY_TOKEN: dict[str, frozenset[Action]] = {
    TokenScope.READ: _READ,
    TokenScope.WRITE: _WRITE,
    TokenScope.ADMIN: _ALL,
}


def can(actor: Actor, action: Action, subject: Scoped) -> bool:
    """Whether ``actor`` may do ``action`` to ``subject``; a token can only narrow what its user may."""
    scope = subject.scope
    return action in _allowed(actor, scope) and scope.team_id not in _locked(actor, scope)


def require(actor: Actor, action: Action, subject: Scoped) -> None:
    """Raise ``NotFound`` when ``actor`` may not even see ``subject``, ``NotAllowed`` when only that.

    Two kinds of ``NotAllowed`` say what would help: ``ScopeMissing``, that another token of the same user
    would do; ``MfaRequired``, that the team wants a second factor first.
    """
    scope = subject.scope
    allowed = _allowed(actor, scope)
    if Action.READ not in allowed:
        raise NotFound
    if scope.team_id in _locked(actor, scope):
        raise MfaRequired
    if action in allowed:
        return
    if (
        actor.user is not None
        and actor.token is not None
        and can(replace(actor, token=None), action, subject)
    ):
        needed = TokenScope.WRITE if action is Action.WRITE else TokenScope.ADMIN
        raise ScopeMissing(
            f"This token does not allow this; one with the scope {needed.value} does.", needed=needed.value
        )
    raise NotAllowed(f"Your role or token does not allow this here ({action.value} is needed).")


def role_in(actor: Actor, scope: Scope) -> Role | None:
    """The role that counts: the project's own before the team's, but an owner of the team stays one."""
    of_team = actor.roles.get(scope.team_id)
    if scope.project_id is None or of_team is Role.OWNER:
        return of_team
    return actor.project_roles.get(scope.project_id, of_team)


def _allowed(actor: Actor, scope: Scope) -> frozenset[Action]:
    """All that roles and token let ``actor`` do there, whatever the team says of second factors."""
    if actor.user is not None and not actor.user.is_active:
        return _NONE
    if actor.is_administrator:
        allowed = _ALL
    elif actor.is_robot:
        allowed = _MANAGE
    else:
        role = role_in(actor, scope)
        allowed = BY_ROLE[role] if role else _NONE
    if actor.token is not None:
        if actor.token.project_id not in (None, scope.project_id):
            allowed = _NONE
        by_scopes = _NONE.union(*(BY_TOKEN.get(each, _NONE) for each in actor.token.scopes))
        return (allowed | (_READ if scope.everyone_reads else _NONE)) & by_scopes
    return allowed | (_READ if scope.everyone_reads else _NONE)


def _locked(actor: Actor, scope: Scope) -> frozenset[UUID]:
    return frozenset() if actor.is_administrator or scope.everyone_reads else actor.locked_teams
