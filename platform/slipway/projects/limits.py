"""How much a project may have: what was set for it, else for its team, else the installation's default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

from django.db.models import Q

from slipway.projects.models import Project, QuotaLimit, Resource

DEFAULTS: Mapping[Resource, int] = MappingProxyType(
    {
        Resource.CONTAINERS: 200,
        Resource.CPU: 128_000,
        Resource.MEMORY: 64 << 30,
        Resource.DISK: 100 << 30,
        Resource.BUILDS: 2,
        Resource.PORTS: 20,
        Resource.REGISTRY: 50 << 30,
    }
)
Limits = dict[Resource, int | None]
"""None: no limit."""


def limits_of(project: Project) -> Limits:
    return limits_of_all([project])[project.pk]


def limits_of_all(projects: Iterable[Project]) -> dict[UUID, Limits]:
    """By project id; one query. The library is the installation's own and has no limits."""
    projects = list(projects)
    teams = {project.team_id for project in projects}
    rows = QuotaLimit.objects.filter(Q(project__in=projects) | Q(team__in=teams))
    of_team: dict[tuple[object, str], int] = {}
    of_project: dict[tuple[object, str], int] = {}
    for row in rows:
        if row.project_id is not None:
            of_project[row.project_id, row.resource] = row.amount
        else:
            of_team[row.team_id, row.resource] = row.amount

    def limit(project: Project, resource: Resource) -> int | None:
        if project.library:
            return None
        default = of_team.get((project.team_id, resource), DEFAULTS[resource])
        return of_project.get((project.pk, resource), default)

    return {project.pk: {each: limit(project, each) for each in Resource} for project in projects}
