"""Reads: every queryset starts from the actor."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.builds.models import JOB_OF_STATE, Build
from slipway.catalog.models import Image
from slipway.ids import parse_id
from slipway.jobs import queries as jobs
from slipway.projects.models import Project

NUMBER_MAX = 1 << 31


def list_builds(
    actor: Actor, project: Project, *, state: str | None = None, group: str | None = None
) -> QuerySet[Build]:
    """Newest first. Raise ``NotFound``."""
    require(actor, Action.READ, project)
    builds = _loaded().filter(project=project)
    if state:
        builds = builds.filter(job__state=JOB_OF_STATE[state])
    if group:
        builds = builds.filter(group=group)
    return builds.order_by("-created_at", "-id")


def get_build(actor: Actor, project: Project, number: str) -> Build:
    """By its number in the project, or its id. Raise ``NotFound``."""
    require(actor, Action.READ, project)
    builds = _loaded().filter(project=project)
    found = None
    if number.isascii() and number.isdigit() and len(number) < 12 and int(number) < NUMBER_MAX:
        found = builds.filter(number=int(number)).first()
    elif key := parse_id(number):
        found = builds.filter(pk=key).first()
    if found is None:
        raise NotFound(f"There is no build {number[:60]!r} in {project.path}.")
    place([found])
    return found


def find_build(actor: Actor, build_id: str) -> Build:
    """By id, whatever its project. Raise ``NotFound``, in the same words for unknown and forbidden."""
    key = parse_id(build_id)
    found = _loaded().filter(pk=key).first() if key else None
    if found is None or not can(actor, Action.READ, found):
        raise NotFound(f"There is no build {build_id[:60]!r} that you can see.")
    return found


def place(builds: Iterable[Build]) -> None:
    """Tell each queued build's job its place and what it waits for."""
    jobs.place([build.job for build in builds])


def image_of(build: Build) -> Image | None:
    """The image it made, while the project has it."""
    if not build.image_id:
        return None
    images = Image.objects.filter(project=build.project, image_id=build.image_id, withdrawn=False)
    return images.prefetch_related("references").first()


def _loaded() -> QuerySet[Build]:
    return Build.objects.select_related(
        "project__team", "job__project__team", "job__node", "job__created_by", "retry_of"
    )
