"""Projects: the unit of isolation, limits and addressing."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

from slipway.accounts.models import Team
from slipway.accounts.scope import Scope
from slipway.ids import Row
from workers.messages import ProjectSlice

if TYPE_CHECKING:
    from slipway.nodes.models import Node

UID_COUNT = 65536
PROJECT_AGAIN = timedelta(seconds=10)
"""When a node that has not answered is told again of a deleted project."""
SUBNET_PREFIX = 24


def project_capacity() -> int:
    """How many projects the address plan of this installation has room for."""
    plan: IPv4Network = settings.SLIPWAY_SUBNETS
    subnets: int = 1 << max(0, SUBNET_PREFIX - plan.prefixlen)
    ranges: int = ((1 << 32) - 1 - settings.SLIPWAY_UID_BASE) // UID_COUNT
    return min(subnets, ranges)


class Project(Row):
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="projects")
    slug = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    index = models.PositiveIntegerField(unique=True)
    """Gives the project its uid range and its subnet; never used twice."""
    node: models.ForeignKey[Node | None, Node | None] = models.ForeignKey(
        "nodes.Node", on_delete=models.PROTECT, null=True, blank=True, related_name="projects"
    )
    """The home node; chosen when the project first needs one."""
    library = models.BooleanField(default=False)
    memory_bytes_max = models.BigIntegerField(default=4 << 30)
    """The most one container may ask for; likewise the next two."""
    cpu_millis_max = models.PositiveIntegerField(default=4000)
    pids_max = models.PositiveIntegerField(default=4096)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["team", "slug"], name="projects_project_slug_unique"),
            models.UniqueConstraint(
                fields=["library"], condition=models.Q(library=True), name="projects_project_one_library"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team.slug}/{self.slug}"

    @property
    def path(self) -> str:
        """``team/project``; needs ``team`` loaded."""
        return f"{self.team.slug}/{self.slug}"

    @property
    def scope(self) -> Scope:
        return Scope(self.team_id, self.id, everyone_reads=self.library)

    @property
    def uid_base(self) -> int:
        return int(settings.SLIPWAY_UID_BASE) + self.index * UID_COUNT

    @property
    def subnet(self) -> str:
        plan: IPv4Network = settings.SLIPWAY_SUBNETS
        first = int(plan.network_address) + (self.index << (32 - SUBNET_PREFIX))
        return str(ip_network((first, SUBNET_PREFIX)))

    @property
    def slice(self) -> ProjectSlice:
        """What a command tells the node about this project."""
        return ProjectSlice(id=self.hex, uid_base=self.uid_base, subnet=self.subnet, uid_count=UID_COUNT)


class ProjectRemoval(Row):
    """What a deleted project left on its home node, until the node says that it is gone."""

    project_id = models.UUIDField(unique=True)
    path = models.CharField(max_length=100)
    node: models.ForeignKey[Node, Node] = models.ForeignKey(
        "nodes.Node", on_delete=models.CASCADE, related_name="project_removals"
    )
    slice_fields = models.JSONField()
    """Of ``ProjectSlice``."""
    send_at = models.DateTimeField(default=timezone.now)
    """When the command is to be sent again."""
    sends = models.PositiveIntegerField(default=0)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["send_at"], condition=models.Q(done_at__isnull=True), name="projects_removal_due"
            )
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def slice(self) -> ProjectSlice:
        return ProjectSlice(**self.slice_fields)


# --------------------------------------------------------------------------- quotas


class Resource(models.TextChoices):
    """What a project has only so much of."""

    CONTAINERS = "containers", "Containers"
    CPU = "cpu_millis", "CPU"
    MEMORY = "memory_bytes", "Memory"
    DISK = "disk_bytes", "Disk"
    BUILDS = "builds", "Imports and builds at once"
    PORTS = "ports", "Published ports"
    REGISTRY = "registry_bytes", "Registry"


class QuotaLimit(Row):
    """A limit an administrator has set: of one project, or the default of a team's projects."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="limits")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="limits"
    )
    resource = models.CharField(max_length=20, choices=Resource)
    amount = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "resource"], condition=models.Q(project=None), name="projects_limit_of_team"
            ),
            models.UniqueConstraint(
                fields=["project", "resource"],
                condition=models.Q(team=None),
                name="projects_limit_of_project",
            ),
            models.CheckConstraint(
                condition=models.Q(team=None) ^ models.Q(project=None), name="projects_limit_of_one"
            ),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="projects_limit_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.resource} {self.amount}"


class Reservation(Row):
    """A line of the ledger: ``holder`` has ``amount`` of ``resource``, until the row is deleted.

    What a project uses is the sum of its lines; there is no second number that could disagree.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reservations")
    resource = models.CharField(max_length=20, choices=Resource)
    amount = models.BigIntegerField()
    holder_kind = models.CharField(max_length=20)
    """``container``, ``image`` or ``job``."""
    holder_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["holder_kind", "holder_id", "resource"], name="projects_reservation_once"
            ),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="projects_reservation_positive"),
        ]
        indexes = [
            models.Index(fields=["project", "resource"], include=["amount"], name="projects_reservation_sum"),
        ]

    def __str__(self) -> str:
        return f"{self.holder_kind} {self.holder_id[:12]}: {self.amount} {self.resource}"


class RequestState(models.TextChoices):
    PENDING = "pending", "Pending"
    APPROVED = "approved", "Approved"
    DECLINED = "declined", "Declined"


class QuotaRequest(Row):
    """A member asks for a higher limit; an administrator decides."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quota_requests")
    resource = models.CharField(max_length=20, choices=Resource)
    amount = models.BigIntegerField()
    """The limit asked for, not the difference."""
    reason = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=RequestState, default=RequestState.PENDING)
    requested_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by_name = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True)
    """What the administrator says to it."""

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "resource"],
                condition=models.Q(state="pending"),
                name="projects_quota_request_pending_once",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="projects_quota_request_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.resource} {self.amount} ({self.state})"

    @property
    def scope(self) -> Scope:
        return self.project.scope
