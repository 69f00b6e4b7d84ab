"""Who asks at the doors, and for what: things of one team, and names of the same shape that are nobody's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from slipway.accounts import invitations, services
from slipway.accounts.actors import Actor
from slipway.accounts.models import ProjectMembership, Role, User
from slipway.catalog import credentials
from slipway.catalog.models import Image
from slipway.containers.models import Container, State
from slipway.projects import quotas
from slipway.projects.models import Project, Resource
from tests.factories import (
    digest,
    make_actor,
    make_build,
    make_container,
    make_image,
    make_job,
    make_manifest,
    make_project,
    make_team,
    make_template,
    make_user,
)

NOBODY: dict[str, str] = {
    "team": "nada",
    "slug": "nope",
    "project": "nope",
    "project_id": uuid.uuid4().hex,
    "container": "still_marsh",
    "container_id": digest("nobody's container").removeprefix("sha256:"),
    "image": digest("nobody's image"),
    "image_id": digest("nobody's image"),
    "build": "5550123",
    "number": "5550123",
    "build_id": uuid.uuid4().hex,
    "context": digest("nobody's context").removeprefix("sha256:"),
    "recipe": "none",
    "template": "none",
    "job": uuid.uuid4().hex,
    "job_id": uuid.uuid4().hex,
    "token": uuid.uuid4().hex,
    "token_id": uuid.uuid4().hex,
    "repository": "nowhere",
    "tag": "v9",
    "manifest": digest("nobody's manifest"),
    "session": "987654321",
    "session_id": "987654321",
    "invitation": uuid.uuid4().hex,
    "invitation_id": uuid.uuid4().hex,
    "quota_request": uuid.uuid4().hex,
    "request_id": uuid.uuid4().hex,
    "verdict": "approve",
    "username": "nobody",
    "node": "faraway",
    "host": "nothing.invalid",
    "action": "start",
    "kind": "csv",
    "pk": "987654321",
    "provider_id": "unheard-of",
}
"""An address or an id for every argument a route can have, of things that do not exist."""


ELSEWHERE = "192.0.2.7"
"""The callers' address: not this machine, which may do more."""


OF_ALL = {
    "username": "marc",
    "node": "local",
    "host": "registry.invalid",
    "recipe": "redis",
    "template": "echo",
}
"""Arguments that are nobody's in particular."""


@dataclass(frozen=True, eq=False)
class World:
    known: Mapping[str, str]
    """Arguments of routes to what the owner has."""
    theirs: Mapping[str, str]
    """The stranger's own team and project, everything else the owner's."""
    users: Mapping[str, User]
    tokens: Mapping[str, str]

    def caller(self, role: str, *, by_token: bool) -> Client:
        """A client that comes as ``role``: with a token, or with the session of the console."""
        if by_token or role not in self.users:
            token = self.tokens.get(role)
            headers = {"authorization": f"Bearer {token}"} if token else None
            return Client(REMOTE_ADDR=ELSEWHERE, headers=headers)
        client = Client(REMOTE_ADDR=ELSEWHERE)
        client.force_login(self.users[role])
        return client


def make_world() -> World:
    team, other = make_team("acme"), make_team("else")
    project = make_project(team, slug="shop")
    make_project(other, slug="mine")
    owner, viewer = make_actor(team, username="olga"), make_actor(team, Role.VIEWER, username="vera")
    stranger, member = make_actor(other, username="sten"), make_actor(team, Role.DEVELOPER, username="marc")
    ProjectMembership.objects.create(project=project, user=member.user, role=Role.MAINTAINER)
    image = make_image(project)
    spare = make_image(project, name="idle:latest", layers=("b",))
    container = _container(project, image)
    token, session = services.issue_token(owner, "laptop")[0], _session(owner.user)
    invitation, _ = invitations.invite(owner, team, Role.DEVELOPER)
    job = make_job(project)
    make_template("echo")
    credentials.set_credential(owner, project, "registry.invalid", "ada", "s3cret")
    manifest = make_manifest(project, "storefront", "v1")
    request = quotas.ask(owner, project, Resource.BUILDS, 50, "")
    known = {
        **NOBODY,
        "team": team.slug,
        "slug": project.slug,
        "project": project.slug,
        "project_id": project.hex,
        "container": container.name,
        "container_id": container.id,
        "image": spare.image_id,
        "image_id": spare.image_id,
        **_build(project),
        "repository": "storefront",
        "tag": "v1",
        "manifest": manifest.digest,
        **_ids(job=job.hex, token=token.hex, session=str(session.pk), invitation=invitation.hex),
        "quota_request": request.hex,
        "request_id": request.hex,
        **OF_ALL,
    }
    administrator = Actor(user=make_user("adam", is_staff=True))
    people = {"owner": owner, "viewer": viewer, "stranger": stranger, "administrator": administrator}
    theirs = {"team": other.slug, "slug": "mine", "project": "mine"}
    return World(known, known | theirs, _users(people), _tokens(people, project))


def _ids(**known: str) -> dict[str, str]:
    """As REST and as the console call them."""
    return {f"{name}{ending}": value for name, value in known.items() for ending in ("", "_id")}


def _users(people: Mapping[str, Actor]) -> dict[str, User]:
    return {role: actor.user for role, actor in people.items() if actor.user is not None}


def _tokens(people: Mapping[str, Actor], project: Project) -> dict[str, str]:
    """One of every person's, and a robot's of ``project``."""
    tokens = {role: services.issue_token(actor, role, scopes=["admin"])[1] for role, actor in people.items()}
    robot = services.issue_token(people["owner"], "robot", scopes=["admin"], project=project, robot=True)
    return {**tokens, "robot": robot[1]}


def _build(project: Project) -> dict[str, str]:
    """The names of one that runs."""
    build = make_build(project, number=5550124, job={"state": "running"})
    return {"build": str(build.number), "number": str(build.number), "build_id": build.hex}


def _container(project: Project, image: Image) -> Container:
    """One that ran to its end."""
    return make_container(
        project,
        name="brisk_quay",
        image=image,
        observed=State.EXITED,
        desired=State.EXITED,
        run=1,
        exit_code=0,
    )


def _session(user: User | None) -> UserSession:
    """A browser that ``user`` is signed in with."""
    store = SessionStore()
    store["somebody"] = True
    store.save()
    return UserSession.objects.create(
        pk=123456789,  # as long as nobody's
        user=user,
        ip=ELSEWHERE,
        session_key=store.session_key or "",
        user_agent="a browser",
    )
