"""Reads: every queryset starts from the actor."""

from __future__ import annotations

import re

from django.db.models import F, Q, QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.containers.models import ALIVE, Container, State
from slipway.projects.models import Project
from slipway.projects.queries import list_projects

_ID = re.compile(r"[0-9a-f]{64}")


def list_containers(
    actor: Actor, project: Project | None = None, *, removed: bool = False, ended: bool = True
) -> QuerySet[Container]:
    """Containers of the project, or of all the actor sees; newest first; with ``removed`` those too.

    Without ``ended`` only those that run or are about to. Constant queries: project, team, node and
    image are loaded. Raise ``NotFound``.
    """
    containers = _loaded()
    if project is not None:
        require(actor, Action.READ, project)
        containers = containers.filter(project=project)
    else:
        containers = containers.filter(project__in=list_projects(actor).order_by().values("pk"))
    if not removed:
        containers = containers.filter(removed_at=None)
    if not ended:
        starting = Q(desired=State.RUNNING, observed_generation__lt=F("desired_generation"))
        containers = containers.filter(Q(observed__in=ALIVE) | starting)
    return containers.order_by("-created_at", "-id")


def get_container(actor: Actor, container_id: str, project: Project | None = None) -> Container:
    """By id, removed ones too; by name or at least 6 digits of the id within a project.

    Raise ``NotFound``.
    """
    found: Container | None = None
    if _ID.fullmatch(container_id):
        found = _loaded().filter(pk=container_id).first()
    elif project is not None:
        found = _find_in(project, container_id)
    inside = found is not None and (project is None or found.project_id == project.id)
    if found is None or not inside or not can(actor, Action.READ, found):
        raise NotFound(f"There is no container {container_id[:80]!r} that you can see.")
    return found


def _find_in(project: Project, text: str) -> Container | None:
    here = _loaded().filter(project=project)
    named = here.filter(name=text, removed_at=None).first()
    if named is not None or not re.fullmatch(r"[0-9a-f]{6,63}", text):
        return named
    fitting = here.filter(id__startswith=text)[:2]
    return fitting[0] if len(fitting) == 1 else None


def _loaded() -> QuerySet[Container]:
    return Container.objects.select_related("project__team", "node", "image")
