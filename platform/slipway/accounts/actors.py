"""Who asks: a user, perhaps through a token, or the operator at the node's terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from uuid import UUID

from slipway.accounts.models import Membership, Role, Token, User


@dataclass(frozen=True)
class Actor:
    """Made once per request or socket frame: it remembers the user's roles from the first question on."""

    user: User | None
    """None for the operator only."""
    token: Token | None = None
    origin: str = ""
    """Address the request came from, for the audit log."""
    is_operator: bool = False

    def __post_init__(self) -> None:
        if self.user is None and not self.is_operator:
            raise ValueError("An actor without a user is nobody")

    @property
    def is_administrator(self) -> bool:
        return self.is_operator or (self.user is not None and self.user.is_staff)

    @property
    def label(self) -> str:
        """As the audit log writes it."""
        if self.user is None:
            return "operator"
        return f"{self.user.username} (slp_{self.token.prefix})" if self.token else self.user.username

    @cached_property
    def roles(self) -> dict[UUID, Role]:
        """Team id → role."""
        if self.user is None:
            return {}
        pairs = Membership.objects.filter(user=self.user).values_list("team_id", "role")
        return {team: Role(role) for team, role in pairs}

    def fresh(self) -> Actor:
        """The same actor with nothing remembered; for sockets that live long."""
        return replace(self)


OPERATOR = Actor(user=None, is_operator=True)
"""Whoever runs management commands: has the database and the keys anyway."""
