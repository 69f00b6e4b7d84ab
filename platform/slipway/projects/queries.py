"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.models import Membership, ProjectMembership, Team
from slipway.accounts.policy import Action, require
from slipway.ids import parse_id
from slipway.projects.models import Project


def list_projects(actor: Actor, team: Team | None = None) -> QuerySet[Project]:
    """Projects of the actor's teams, and those where they have a role; a project's token sees only that one.

    Administrators see all. Teams that wait for the actor's second factor show none.
    """
    projects = Project.objects.select_related("team", "node")
    if not actor.is_administrator and not actor.is_robot:
        of_teams = Membership.objects.filter(user=actor.user).values("team")
        own_role = ProjectMembership.objects.filter(user=actor.user).values("project")
        projects = projects.filter(Q(team__in=of_teams) | Q(pk__in=own_role))
        projects = projects.exclude(team__in=actor.locked_teams)
    if actor.token is not None and actor.token.project_id is not None:
        projects = projects.filter(pk=actor.token.project_id)
    if team is not None:
        projects = projects.filter(team=team)
    return projects.order_by("team__slug", "slug")


def get_project(actor: Actor, project_id: str | UUID) -> Project:
    """By id. Raise ``NotFound``. Everyone may look at the library."""
    key = parse_id(project_id)
    return _visible(actor, Project.objects.filter(pk=key) if key else Project.objects.none(), str(project_id))


def get_project_by_path(actor: Actor, team_slug: str, slug: str) -> Project:
    """Raise ``NotFound``."""
    return _visible(actor, Project.objects.filter(team__slug=team_slug, slug=slug), f"{team_slug}/{slug}")


def find_library() -> Project | None:
    return Project.objects.select_related("team", "node").filter(library=True).first()


def _visible(actor: Actor, projects: QuerySet[Project], asked: str) -> Project:
    project = projects.select_related("team", "node").first()
    if project is not None:
        try:
            require(actor, Action.READ, project)
        except NotFound:
            project = None
    if project is None:
        raise NotFound(f"There is no project {asked[:80]!r} that you can see.")
    return project
