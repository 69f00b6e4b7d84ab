"""Who may do what: one function, asked by every service and every query."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound, ScopeMissing
from slipway.accounts.models import Role, TokenScope
from slipway.accounts.scope import Scoped


class Action(StrEnum):
    READ = "read"
    WRITE = "write"
    """Containers, images, jobs."""
    MANAGE = "manage"
    """Projects of a team, developers and viewers, limits."""
    OWN = "own"
    """The team itself and everybody in it."""


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
    if actor.user is not None and not actor.user.is_active:
        return False
    everyones = scope.everyone_reads and action is Action.READ
    if actor.token is not None:
        allowed = frozenset().union(*(BY_TOKEN.get(each, frozenset()) for each in actor.token.scopes))
        if action not in allowed:
            return False
        bound = actor.token.project_id
        if bound is not None and bound != scope.project_id and not everyones:
            return False
    if actor.is_administrator or everyones:
        return True
    role = actor.roles.get(scope.team_id)
    return role is not None and action in BY_ROLE[role]


def require(actor: Actor, action: Action, subject: Scoped) -> None:
    """Raise ``NotFound`` when ``actor`` may not even see ``subject``, ``NotAllowed`` when only that.

    ``ScopeMissing``, a ``NotAllowed``, says that another token of the same user would do.
    """
    if can(actor, action, subject):
        return
    if action is Action.READ or not can(actor, Action.READ, subject):
        raise NotFound
    if actor.token is not None and can(replace(actor, token=None), action, subject):
        needed = TokenScope.WRITE if action is Action.WRITE else TokenScope.ADMIN
        raise ScopeMissing(
            f"This token does not allow this; one with the scope {needed.value} does.", needed=needed.value
        )
    raise NotAllowed(f"Your role or token does not allow this here ({action.value} is needed).")
