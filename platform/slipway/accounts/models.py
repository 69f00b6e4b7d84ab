"""Users, teams, members and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.ids import Row

if TYPE_CHECKING:
    from slipway.projects.models import Project


class User(Row, AbstractUser):
    """``is_staff`` marks the administrators of the installation."""

    first_name = None  # type: ignore[assignment]  # one name is enough; people write it as they like
    last_name = None  # type: ignore[assignment]
    name = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"), condition=~models.Q(email=""), name="accounts_user_email_unique"
            ),
        ]

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.username


class Role(models.TextChoices):
    """What a member may do in a team; each includes those below it."""

    OWNER = "owner", "Owner"
    MAINTAINER = "maintainer", "Maintainer"
    DEVELOPER = "developer", "Developer"
    VIEWER = "viewer", "Viewer"


class Team(Row):
    slug = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def scope(self) -> Scope:
        return Scope(self.id)


class Membership(Row):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="accounts_membership_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} {self.team_id}"

    @property
    def scope(self) -> Scope:
        return Scope(self.team_id)


class TokenScope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Read and write"
    ADMIN = "admin", "Administer"


class Token(Row):
    """``slp_<prefix>_<secret><checksum>``; only the prefix and a hash of the secret are kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    """Values of ``TokenScope``."""
    project: models.ForeignKey[Project | None, Project | None] = models.ForeignKey(
        "projects.Project", on_delete=models.CASCADE, null=True, blank=True, related_name="tokens"
    )
    """If set, the token opens this project and nothing else."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["user", "-created_at"], name="accounts_token_of_user")]

    def __str__(self) -> str:
        return f"slp_{self.prefix}_…"
