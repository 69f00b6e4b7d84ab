"""Reads: what projects use of what they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Sum

from slipway.projects.limits import limits_of_all
from slipway.projects.models import Project, Reservation, Resource


@dataclass(frozen=True)
class Use:
    resource: Resource
    used: int
    limit: int | None
    """None: there is none."""

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def percent(self) -> int:
        """Of the limit, 0 to 100."""
        if not self.limit:
            return 100 if self.limit == 0 and self.used else 0
        return min(100, round(100 * self.used / self.limit))

    @property
    def is_tight(self) -> bool:
        return self.limit is not None and self.used > 0 and self.percent >= 80


def usage(project: Project) -> list[Use]:
    """One line per resource. The caller has looked the project up as an actor may."""
    return usage_of_all([project])[project.pk]


def usage_of_all(projects: Sequence[Project]) -> dict[UUID, list[Use]]:
    """By project id; two queries."""
    limits = limits_of_all(projects)
    lines = Reservation.objects.filter(project__in=projects).order_by().values_list("project", "resource")
    sums = {(project, resource): total for project, resource, total in lines.annotate(sum=Sum("amount"))}
    return {
        project.pk: [
            Use(each, sums.get((project.pk, each.value), 0), limits[project.pk][each]) for each in Resource
        ]
        for project in projects
    }
