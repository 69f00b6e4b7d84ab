"""Users, teams, members, invitations and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from slipway.accounts.scope import NOWHERE, Place, Scope
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

    @property
    def scope(self) -> Place:
        """People belong to no team; the audit log asks."""
        return NOWHERE

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
    requires_mfa = models.BooleanField(default=False)
    """Members without a second factor, and their tokens, are shut out of the team and its projects."""
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


class ProjectMembership(Row):
    """A role in one project: counts there instead of the one in the team; owners of the team stay owners."""

    project: models.ForeignKey[Project, Project] = models.ForeignKey(
        "projects.Project", on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="project_memberships")
    role = models.CharField(max_length=10, choices=Role)
    """Any but owner: a project belongs to its team."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="accounts_project_member_unique"),
            models.CheckConstraint(
                condition=~models.Q(role=Role.OWNER), name="accounts_project_member_no_owner"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} {self.project_id}"

    @property
    def scope(self) -> Scope:
        return self.project.scope


class Invitation(Row):
    """A link that makes whoever opens it a member, once; only a hash of its secret is kept."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    project: models.ForeignKey[Project | None, Project | None] = models.ForeignKey(
        "projects.Project", on_delete=models.CASCADE, null=True, blank=True, related_name="invitations"
    )
    """If set, the invitation is to this project only."""
    role = models.CharField(max_length=10, choices=Role)
    email = models.EmailField(blank=True)
    """Where the link was sent; empty when its maker passes it on."""
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["team", "-created_at"], name="accounts_invitation_of_team")]

    def __str__(self) -> str:
        return f"{self.role} in {self.team}"

    @property
    def scope(self) -> Scope:
        return Scope(self.team_id, self.project_id)

    @property
    def is_open(self) -> bool:
        """Neither accepted nor withdrawn nor expired."""
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > timezone.now()


class RetiredProject(Row):
    """What stays of a deleted project: its index, whose uid range and subnet are never given out again."""

    index = models.PositiveIntegerField(unique=True)
    path = models.CharField(max_length=100)
    deleted_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.path


class TokenScope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Read and write"
    ADMIN = "admin", "Administer"


class Token(Row):
    """``slp_<prefix>_<secret><checksum>``; only the prefix and a hash of the secret are kept.

    A user's own, or a robot of its project: that one has no user and outlives whoever made it.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="tokens")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
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
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False) | models.Q(project__isnull=False),
                name="accounts_token_has_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (slp_{self.prefix}_…)"

    @property
    def is_robot(self) -> bool:
        return self.user_id is None

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def scope(self) -> Place:
        return NOWHERE if self.project is None else Place(self.project.team_id, self.project.id)
