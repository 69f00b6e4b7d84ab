"""Writes: projects and their place in the address plan."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Max

from slipway.accounts.actors import OPERATOR, Actor
from slipway.accounts.errors import NameTaken
from slipway.accounts.models import RetiredProject, Team
from slipway.accounts.policy import Action, require
from slipway.accounts.services import create_team
from slipway.accounts.slugs import parse_slug
from slipway.audit.services import record
from slipway.projects.errors import AddressPlanFull
from slipway.projects.models import Project, project_capacity

_ATTEMPTS = 20


def create_project(actor: Actor, team: Team, slug: str, name: str = "", *, library: bool = False) -> Project:
    """A project with a uid range and a subnet of its own.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidName``, ``NameTaken``, ``AddressPlanFull``.
    """
    require(actor, Action.MANAGE, team)
    slug = parse_slug(slug, what="Project", allow_reserved=library)
    for _ in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                project = Project.objects.create(
                    team=team, slug=slug, name=(name or slug)[:100], index=_next_index(), library=library
                )
                record(actor, "project.create", project, after={"name": project.name})
            return project
        except IntegrityError as error:
            # Two at once may have read the same highest index; the unique constraint lets one through.
            if Project.objects.filter(team=team, slug=slug).exists():
                raise NameTaken(f"Team {team.slug} has a project {slug!r} already.", name=slug) from error
    raise AddressPlanFull("No free project index was found; too many projects are being created at once.")


def _next_index() -> int:
    """Indexes are not used twice: files of a dead project may still carry its range."""
    highest = (kind.objects.aggregate(highest=Max("index"))["highest"] for kind in (Project, RetiredProject))
    index = max(-1 if each is None else int(each) for each in highest) + 1
    if index >= project_capacity():
        raise AddressPlanFull(
            f"All {project_capacity()} project networks are in use. Widen SLIPWAY_SUBNETS.",
            capacity=project_capacity(),
        )
    return index


def ensure_project(actor: Actor, team_slug: str, slug: str) -> Project:
    """The project ``team_slug/slug``, made with its team where missing; for set-up and its commands.

    Raise what ``create_team`` and ``create_project`` do.
    """
    team = Team.objects.filter(slug=team_slug).first() or create_team(actor, team_slug, allow_reserved=True)
    project = Project.objects.select_related("team", "node").filter(team=team, slug=slug).first()
    return project or create_project(actor, team, slug)


def ensure_library() -> Project:
    """The project ``library/library``; safe to repeat. Raise ``AddressPlanFull``."""
    found = Project.objects.select_related("team", "node").filter(library=True).first()
    if found is not None:
        return found
    slug = "library"
    team = Team.objects.filter(slug=slug).first() or create_team(
        OPERATOR, slug, "Library", allow_reserved=True
    )
    return create_project(OPERATOR, team, slug, "Library", library=True)
