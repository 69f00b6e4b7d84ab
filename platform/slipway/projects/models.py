"""Projects: the unit of isolation, limits and addressing."""

from __future__ import annotations

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
