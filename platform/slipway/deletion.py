"""Deleting projects and teams: what would be lost, and the deletion once nothing lies on a node any more.

Two steps, so that no row goes before what it stands for: ``clear_project`` wishes containers and images
gone, which the nodes answer in their own time; ``delete_project`` refuses until they have.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from slipway import dispatch
from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotEmpty
from slipway.accounts.models import RetiredProject, Team, Token
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.models import Image
from slipway.catalog.services import remove_image
from slipway.containers.models import Container
from slipway.containers.services import remove as remove_container
from slipway.jobs.models import ACTIVE, Job
from slipway.projects.models import PROJECT_AGAIN, Project, ProjectRemoval
from slipway.repositories.models import Repository
from slipway.repositories.services import drop_repositories
from workers.messages import DropProject


@dataclass(frozen=True)
class Losses:
    """What a deletion takes along; the first three stand in its way while there are any."""

    containers: int
    images: int
    active_jobs: int
    image_bytes: int
    past_containers: int
    """Removed ones, whose logs and history can still be read."""
    tokens: int
    repositories: int

    @property
    def stands_in_the_way(self) -> bool:
        return bool(self.containers or self.images or self.active_jobs)


def list_losses(actor: Actor, project: Project) -> Losses:
    """Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.OWN, project)
    containers = Container.objects.filter(project=project)
    images = Image.objects.filter(project=project)
    alive = containers.filter(removed_at=None).count()
    return Losses(
        containers=alive,
        images=images.count(),
        active_jobs=Job.objects.filter(project=project, state__in=ACTIVE).count(),
        image_bytes=images.aggregate(bytes=Sum("size"))["bytes"] or 0,
        past_containers=containers.count() - alive,
        tokens=Token.objects.filter(project=project, revoked_at=None).count(),
        repositories=Repository.objects.filter(project=project).count(),
    )


def clear_project(actor: Actor, project: Project) -> Losses:
    """Wish every container of the project gone, running or not, and every image that none is made from.

    Safe to repeat, and to be repeated for the images once the containers are gone. What was there is told.
    """
    losses = list_losses(actor, project)
    _spare_library(project)
    for container in Container.objects.filter(project=project, removed_at=None):
        remove_container(actor, container, force=True)
    used = Container.objects.filter(removed_at=None, image__isnull=False).values("image")
    images = Image.objects.filter(project=project, withdrawn=False).select_related("project__team")
    for image in images.exclude(pk__in=used):
        remove_image(actor, image)
    return losses


def delete_project(actor: Actor, project: Project, confirm: str) -> None:
    """``confirm`` is its path. Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``, ``NotEmpty``."""
    require(actor, Action.OWN, project)
    _spare_library(project)
    _require_confirmation(confirm, project.path)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        losses = list_losses(actor, project)
        if losses.stands_in_the_way:
            raise NotEmpty(
                f"{project.path} still holds {losses.containers} container(s), {losses.images} image(s) and "
                f"{losses.active_jobs} job(s) under way. Clear it first and wait until the node is done.",
                **asdict(losses),
            )
        record(actor, "project.delete", project, before={"name": project.name}, **asdict(losses))
        drop_repositories(project)
        RetiredProject.objects.create(index=project.index, path=project.path)
        _clear_node(project)
        project.delete()


def _clear_node(project: Project) -> None:
    """Let its home node drop what it keeps for it; the sweep asks until the node has answered."""
    if project.node is None:
        return
    removal = ProjectRemoval.objects.create(
        project_id=project.id,
        path=project.path,
        node=project.node,
        slice_fields=asdict(project.slice),
        send_at=timezone.now() + PROJECT_AGAIN,
        sends=1,
    )
    dispatch.send(DropProject(removal.slice), project.node)


def delete_team(actor: Actor, team: Team, confirm: str) -> None:
    """``confirm`` is its slug. Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``, ``NotEmpty``."""
    require(actor, Action.OWN, team)
    _require_confirmation(confirm, team.slug)
    with transaction.atomic():
        Team.objects.select_for_update().get(pk=team.pk)
        projects = team.projects.count()
        if projects:
            raise NotEmpty(
                f"{team.slug} still has {projects} project(s). Delete them first.", projects=projects
            )
        record(actor, "team.delete", team, before={"name": team.name, "members": team.memberships.count()})
        team.delete()
    actor.forget()


def _require_confirmation(given: str, name: str) -> None:
    if given != name:
        raise InvalidRequest(f"confirm: type {name} to delete it.", field="confirm")


def _spare_library(project: Project) -> None:
    if project.library:
        raise NotAllowed("The library is part of the installation; remove single images instead.")
