"""Our own registry as a source and a target of transfers: who may, and the token a node is given for it."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.catalog.registries import Registries
from slipway.jobs.models import Job
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.repositories import tokens
from slipway.repositories.access import may_read
from slipway.repositories.errors import NoSuchRepository
from slipway.repositories.names import RepositoryPath
from slipway.repositories.queries import find_repository
from workers.messages import PullImage, PushImage, RegistryAccess
from workers.oci.reference import Reference

TOKEN_SECONDS = 6 * 3600
"""A job may wait for its turn, and large layers take their time; it opens one repository for one verb."""


def plan_home_access(registries: Registries) -> RegistryAccess:
    """As a job keeps it; the token is made when its command is sent."""
    return RegistryAccess(
        username=tokens.NODE_USER, plain_http=registries.node_plain_http, allow_private=True
    )


def require_pull(actor: Actor, reference: Reference) -> None:
    """Raise ``NoSuchRepository`` for what is not there or not to be seen, ``InvalidRepositoryName``."""
    path = str(RepositoryPath.parse(reference.repository))
    repository = find_repository(path)
    if repository is None or not may_read(actor, repository):
        raise NoSuchRepository(path)


def require_push(actor: Actor, reference: Reference) -> Project:
    """Raise ``NotFound``, ``NotAllowed``, ``InvalidRepositoryName``."""
    path = RepositoryPath.parse(reference.repository)
    project = get_project_by_path(actor, path.team, path.project)
    require(actor, Action.WRITE, project)
    return project


def token_for(job: Job, command: PullImage | PushImage, reference: Reference) -> str:
    """Good for what the command does and nothing else. A push is its user's, who must still be allowed to.

    Whoever wished it was allowed to then: what a robot or the operator wished is done as the node.
    """
    path = RepositoryPath.parse(reference.repository)
    project = Project.objects.select_related("team").get(team__slug=path.team, slug=path.project)
    actions = ("pull",) if isinstance(command, PullImage) else ("pull", "push")
    actor = Actor(user=job.created_by) if job.created_by is not None else None
    return tokens.mint(project, path.name, actions, TOKEN_SECONDS, for_actor=actor)


def token_for_builds(job: Job, caches: Iterable[str] = ()) -> str:
    """Good for pulling what stages may begin from: what is the project's or the library's, and what whoever
    wished the build may see, as far as their token went; and for pushing to ``caches`` of the project's.

    Which repositories that is the registry decides when it is asked: there may be thousands.
    """
    mine = [path for path in caches if path.startswith(f"{job.project.path}/")]
    claims = tokens.Claims(
        "access",
        user=job.created_by.hex if job.created_by is not None else "",
        is_node=True,
        grants=dict.fromkeys(mine, frozenset({"pull", "push"})),
        home=job.project.hex,
        is_bound=job.is_bound,
    )
    return tokens.sign(claims, TOKEN_SECONDS)
