"""Who asks: a user, perhaps through a token, a project's robot, or the operator at the node's terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import UUIDField, Value

from slipway.accounts.models import Membership, ProjectMembership, Role, Token, User


@dataclass(frozen=True)
class Robot:
    """What a request of a robot has for a user: signed in, and nobody."""

    name: str
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False
    is_staff: bool = False
    pk: None = None


@dataclass(frozen=True)
class _Standing:
    """A user's memberships, from one query."""

    teams: dict[UUID, Role]
    projects: dict[UUID, Role]
    strict: frozenset[UUID]
    """Teams that ask for a second factor, of the user's teams and projects."""


@dataclass(frozen=True)
class Actor:
    """Made once per request or socket frame: it remembers the user's roles from the first question on."""

    user: User | None
    """None for the operator and for robots."""
    token: Token | None = None
    origin: str = ""
    """Address the request came from, for the audit log."""
    is_operator: bool = False

    def __post_init__(self) -> None:
        if self.user is None and not self.is_operator and not self.is_robot:
            raise ValueError("An actor without a user is nobody")

    @property
    def is_robot(self) -> bool:
        return self.token is not None and self.token.is_robot

    @property
    def is_administrator(self) -> bool:
        return self.is_operator or (self.user is not None and self.user.is_staff)

    @property
    def label(self) -> str:
        """As the audit log writes it."""
        if self.user is None:
            return f"robot {self.token.name} (slp_{self.token.prefix})" if self.token else "operator"
        return f"{self.user.username} (slp_{self.token.prefix})" if self.token else self.user.username

    @property
    def identity(self) -> str:
        """The same for a user whatever token is used, and for a robot; made of no name, so never reused."""
        if self.user is not None:
            return f"user:{self.user.pk}"
        return f"robot:{self.token.pk}" if self.token else "operator"

    @property
    def roles(self) -> dict[UUID, Role]:
        """Team id → role."""
        return self._standing.teams

    @property
    def project_roles(self) -> dict[UUID, Role]:
        """Project id → role, where it differs from the team's."""
        return self._standing.projects

    @cached_property
    def locked_teams(self) -> frozenset[UUID]:
        """Teams the user belongs to but may not enter before setting up a second factor.

        The user counts, not the session: whoever has a factor proved it when signing in, and a token does
        no more than its user may.
        """
        if not self._standing.strict or self.has_second_factor:
            return frozenset()
        return self._standing.strict

    @cached_property
    def has_second_factor(self) -> bool:
        kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
        return self.user is not None and Authenticator.objects.filter(user=self.user, type__in=kinds).exists()

    @cached_property
    def _standing(self) -> _Standing:
        teams: dict[UUID, Role] = {}
        projects: dict[UUID, Role] = {}
        strict = set()
        for team, project, role, requires_mfa in _memberships(self.user) if self.user else ():
            if project is None:
                teams[team] = Role(role)
            else:
                projects[project] = Role(role)
            if requires_mfa:
                strict.add(team)
        return _Standing(teams, projects, frozenset(strict))

    def fresh(self) -> Actor:
        """The same actor with nothing remembered; for sockets that live long, and after a change."""
        return replace(self)

    def forget(self) -> None:
        """Ask the database anew next time: this request changed the actor's own memberships."""
        for name in ("_standing", "locked_teams", "has_second_factor"):
            self.__dict__.pop(name, None)


def _memberships(user: User) -> Any:
    """(team, project or None, role, whether the team asks for a second factor)."""
    none = Value(None, output_field=UUIDField())
    of_teams = Membership.objects.filter(user=user).values_list("team_id", none, "role", "team__requires_mfa")
    of_projects = ProjectMembership.objects.filter(user=user).values_list(
        "project__team_id", "project_id", "role", "project__team__requires_mfa"
    )
    return of_teams.union(of_projects, all=True)


OPERATOR = Actor(user=None, is_operator=True)
"""Whoever runs management commands: has the database and the keys anyway."""
