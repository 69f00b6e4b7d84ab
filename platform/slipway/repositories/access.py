"""Who may do what to a repository: the caller of the registry, and what its visibility adds to the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.models import Membership, ProjectMembership, Token, TokenScope, User
from slipway.accounts.policy import Action, can, require
from slipway.projects.models import Project
from slipway.repositories.errors import InsufficientGrant, NoSuchRepository
from slipway.repositories.models import Repository, Visibility


class Verb(StrEnum):
    """What a grant allows, in the words of Docker's token protocol."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


Grants = Mapping[str, frozenset[str]]
"""Path of a repository → verbs."""


def _nobody() -> Actor | None:
    return None


@dataclass
class Access:
    """A caller of the registry. Nobody: ``Access()``."""

    find: Callable[[], Actor | None] = _nobody
    """Asked when the actor is needed first: most pulls never do."""
    grants: Grants | None = None
    """What the caller's bearer token says; None: the policy alone decides."""
    is_anonymous: bool = True
    is_node: bool = False
    """A node with a token made for one errand: its grants are all it has."""
    origin: str = ""
    home: UUID | None = None
    """The project a node works for: besides its grants it may pull what that one and its user may."""
    may_list: bool = True
    """Whether the list of repositories may be asked for; a bearer token must say so."""

    @classmethod
    def of(cls, actor: Actor) -> Access:
        """Of who came without a bearer token of the registry."""
        return cls(lambda: actor, is_anonymous=False, origin=actor.origin)

    @cached_property
    def actor(self) -> Actor | None:
        """None for who is anonymous, and for a node. Raise ``InvalidBearer``."""
        return self.find()

    # What the audit log asks of whoever did something.
    @property
    def user(self) -> User | None:
        return self.actor.user if self.actor else None

    @property
    def token(self) -> Token | None:
        return self.actor.token if self.actor else None

    @property
    def label(self) -> str:
        if self.actor is not None:
            return self.actor.label
        return "node" if self.is_node else "anonymous"

    def has(self, path: str, verb: Verb) -> bool:
        return self.grants is None or verb in self.grants.get(path, frozenset())


def may_read(actor: Actor | None, repository: Repository) -> bool:
    """By policy and visibility; None is somebody who did not sign in."""
    if actor is None:
        return repository.visibility == Visibility.PUBLIC
    if can(actor, Action.READ, repository):
        return True
    return repository.visibility == Visibility.TEAM and _is_of_team(actor, repository.project)


def _is_of_team(actor: Actor, project: Project) -> bool:
    """Whether the actor has a role in the team or in any of its projects, or is a robot of one."""
    if project.team_id in actor.locked_teams:
        return False
    token = actor.token
    if token is not None:
        if not set(token.scopes) & set(TokenScope):
            return False
        if token.project is not None and token.project.team_id != project.team_id:
            return False
    if actor.is_robot:
        return True
    if actor.user is None or not actor.user.is_active:
        return False
    of_team = Membership.objects.filter(team=project.team_id, user=actor.user).exists()
    return of_team or (
        ProjectMembership.objects.filter(project__team=project.team_id, user=actor.user).exists()
    )


def may_write(actor: Actor | None, project: Project) -> bool:
    return actor is not None and can(actor, Action.WRITE, project)


def verbs(actor: Actor | None, project: Project | None, repository: Repository | None) -> set[Verb]:
    """All that the caller may do to the repository at ``path``, which need not exist yet."""
    found: set[Verb] = set()
    if repository is not None and may_read(actor, repository):
        found.add(Verb.PULL)
    if project is not None and may_write(actor, project):
        found |= {Verb.PULL, Verb.PUSH, Verb.DELETE}
    return found


def reads(access: Access, repository: Repository) -> bool:
    """Whether the caller may read it, by the bearer token or, if that says nothing of it, by policy."""
    if access.grants is not None and access.has(repository.path, Verb.PULL):
        return True  # whoever made the token asked the policy; it lives for minutes
    return not access.is_node and may_read(access.actor, repository)


def reads_for_home(access: Access, repository: Repository) -> bool:
    """Whether the project that a node works for has it, or may see it as whoever wished the work may."""
    if access.home is None:
        return False
    project = repository.project
    return project.pk == access.home or project.library or may_read(access.actor, repository)


def require_read(access: Access, repository: Repository) -> None:
    """Raise ``NoSuchRepository``, or ``InsufficientGrant`` if another token would do."""
    if not reads(access, repository):
        raise NoSuchRepository(repository.path)
    if not access.has(repository.path, Verb.PULL) and access.actor is not None:
        raise InsufficientGrant(f"This token does not say that it may pull from {repository.path}.")


def require_write(
    access: Access, path: str, project: Project, verb: Verb = Verb.PUSH, *, there: Repository | None = None
) -> None:
    """Raise ``NoSuchRepository``, ``NotAllowed``, ``InsufficientGrant``. ``there``: the repository, if it is.

    The policy is asked each time, whatever the bearer token says: it may have changed since.
    """
    if access.is_node:
        if not access.has(path, verb):
            raise NoSuchRepository(path)
        return
    if access.actor is None:
        raise NoSuchRepository(path)
    if there is not None and not may_write(access.actor, project) and may_read(access.actor, there):
        raise NotAllowed(f"You may pull from {path} but not {verb.value} there.")
    try:
        require(access.actor, Action.WRITE, project)
    except NotFound as error:  # in the words for what does not exist: whether it does is not to be told
        raise NoSuchRepository(path) from error
    if not access.has(path, verb):
        raise InsufficientGrant(f"This token does not say that it may {verb.value} to {path}.")


def require_manage(actor: Actor, repository: Repository) -> None:
    """For visibility and rules. Raise ``NoSuchRepository``, ``NotAllowed``."""
    if not may_read(actor, repository):
        raise NoSuchRepository(repository.path)
    if not can(actor, Action.MANAGE, repository.project):
        raise NotAllowed("Only maintainers of the project change who sees a repository and what it keeps.")
