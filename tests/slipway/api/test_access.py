"""Routes asked by everybody: unknown and forbidden are one 404, a weak token a 403, none a 401.

That no route is without an entry is for tests/slipway/doors to see; here is what the answers say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from slipway.accounts import invitations
from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, ProjectMembership, Role, Token
from slipway.catalog.models import Image
from slipway.jobs.models import Job
from tests.factories import make_container, make_image, make_job, make_user
from tests.slipway.api.conftest import People, Rest

PROBLEM = {"type", "title", "status", "detail", "code", "instance", "request_id", "facts"}


@dataclass(frozen=True)
class Route:
    name: str
    method: str
    path: str
    body: Any = None
    scope: str = "read"
    """What a token must allow: read, write or admin."""
    of_project: bool = True

    def ask(self, rest: Rest) -> Any:
        if self.method == "GET":
            return rest.get(self.path)
        if self.method in ("PUT", "PATCH"):
            put = rest.client.put if self.method == "PUT" else rest.client.patch
            return put(self.path, self.body, content_type="application/json")
        return rest.post(self.path, self.body) if self.method == "POST" else rest.delete(self.path)


def _of_the_caller(token: Token) -> list[Route]:
    return [
        Route("token-introspect", "POST", "/api/v1/tokens/introspect", None, of_project=False),
        Route("sessions", "GET", "/api/v1/sessions", of_project=False),
        Route("tokens", "GET", "/api/v1/tokens", of_project=False),
        Route("tokens", "POST", "/api/v1/tokens", {"name": "x"}, "admin", of_project=False),
        Route("token", "GET", f"/api/v1/tokens/{token.hex}"),
        Route("token", "DELETE", f"/api/v1/tokens/{token.hex}", None, "admin"),
    ]


def _of_the_project(base: str, at: str, image: Image, job: Job) -> list[Route]:
    return [
        Route("project", "GET", base),
        Route("jobs", "GET", f"{base}/jobs"),
        Route("job", "GET", f"{base}/jobs/{job.hex}"),
        Route("images", "GET", f"{base}/images"),
        Route("image", "GET", f"{base}/images/busybox:latest"),
        Route("image", "DELETE", f"{base}/images/{image.image_id}", None, "write"),
        Route("containers", "GET", f"{base}/containers"),
        Route("containers", "POST", f"{base}/containers", {"image": "busybox"}, "write"),
        Route("container", "GET", at),
        Route("container-start", "POST", f"{at}/start", None, "write"),
        Route("container-stop", "POST", f"{at}/stop", None, "write"),
        Route("container-kill", "POST", f"{at}/kill", None, "write"),
        Route("container", "DELETE", at, None, "write"),
    ]


def routes(people: People) -> list[Route]:
    """Requests that need no other services; those of the project come to nothing harmful."""
    project = people.project
    image = make_image(project)
    container = make_container(project, image=image)
    job = make_job(project)
    newcomer, leaver = make_user(), make_user()
    Membership.objects.create(team=project.team, user=leaver, role=Role.VIEWER)
    ProjectMembership.objects.create(project=project, user=leaver, role=Role.VIEWER)
    owner = Membership.objects.get(team=project.team, role=Role.OWNER).user
    invitation, _ = invitations.invite(Actor(user=owner), project.team, Role.VIEWER)
    token = Token.objects.filter(user__memberships__team=project.team).first()
    assert token is not None
    base, at = people.path, f"{people.path}/containers/{container.name}"
    team = f"/api/v1/teams/{project.team.slug}"
    return [
        Route("me", "GET", "/api/v1/me", of_project=False),
        Route("teams", "GET", "/api/v1/teams", of_project=False),
        Route("teams", "POST", "/api/v1/teams", {"slug": "fresh-team"}, "admin", of_project=False),
        Route("team", "GET", team),
        Route("team", "PATCH", team, {"name": "Renamed"}, "admin"),
        Route("members", "GET", f"{team}/members"),
        Route("member", "PUT", f"{team}/members/{newcomer.username}", {"role": "viewer"}, "admin"),
        Route("invitations", "GET", f"{team}/invitations", None, "admin"),
        Route("invitations", "POST", f"{team}/invitations", {"role": "viewer"}, "admin"),
        Route("invitation", "DELETE", f"{team}/invitations/{invitation.hex}", None, "admin"),
        Route("project-members", "GET", f"{base}/members"),
        Route("project-member", "PUT", f"{base}/members/{newcomer.username}", {"role": "viewer"}, "admin"),
        Route("project-member", "DELETE", f"{base}/members/{leaver.username}", None, "admin"),
        Route("member", "DELETE", f"{team}/members/{leaver.username}", None, "admin"),
        Route("project-tokens", "GET", f"{base}/tokens", None, "admin"),
        Route("project-clear", "GET", f"{base}/clear", None, "admin"),
        Route("projects", "GET", "/api/v1/projects", of_project=False),
        Route("projects", "POST", "/api/v1/projects", {"team": project.team.slug, "slug": "p2"}, "admin"),
        *_of_the_caller(token),
        *_of_the_project(base, at, image, job),
        Route("nodes", "GET", "/api/v1/nodes", of_project=False),
    ]


@pytest.fixture
def everything(people: People) -> list[Route]:
    return routes(people)


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body.keys() >= PROBLEM
    assert (body["status"], body["code"]) == (status, code), body
    return body


@pytest.mark.parametrize(
    ("who", "code", "hint"),
    [
        (None, "AUTHENTICATION_REQUIRED", ""),
        ("expired", "TOKEN_EXPIRED", 'error="invalid_token"'),
        ("revoked", "TOKEN_REVOKED", 'error="invalid_token"'),
    ],
)
def test_without_a_good_token_nothing_opens(
    everything: list[Route], people: People, who: str | None, code: str, hint: str
) -> None:
    rest = Rest(getattr(people, who) if who else None)
    for route in everything:
        answer = route.ask(rest)
        refused(answer, 401, code)
        assert answer["WWW-Authenticate"].startswith('Bearer realm="slipway"'), route
        assert hint in answer["WWW-Authenticate"], route


def test_for_strangers_the_project_does_not_exist(everything: list[Route], people: People) -> None:
    rest = Rest(people.stranger)
    for route in everything:
        if route.of_project:
            body = refused(route.ask(rest), 404, "NOT_FOUND")
            assert "you can see" in body["detail"] or "You have no token" in body["detail"], route


def test_what_strangers_see_is_word_for_word_what_nobody_has(people: People) -> None:
    rest = Rest(people.stranger)
    theirs = rest.get(f"{people.path}/containers").json()
    nobodys = rest.get("/api/v1/projects/no-such/thing/containers").json()
    asked = f"{people.project.path}", "no-such/thing"
    assert theirs["detail"].replace(asked[0], "") == nobodys["detail"].replace(asked[1], "")


def test_a_token_of_another_project_opens_nothing_here(everything: list[Route], people: People) -> None:
    rest = Rest(people.elsewhere)
    for route in everything:
        if route.path.startswith(people.path):
            refused(route.ask(rest), 404, "NOT_FOUND")


def test_a_readonly_token_reads_and_is_told_what_it_lacks(everything: list[Route], people: People) -> None:
    rest = Rest(people.readonly)
    for route in everything:
        answer = route.ask(rest)
        if route.scope == "read":
            assert answer.status_code == 200, (route, answer.content)
        else:
            body = refused(answer, 403, "SCOPE_MISSING")
            assert body["facts"]["needed"], route


def test_a_viewer_is_told_the_role_is_missing(everything: list[Route], people: People) -> None:
    rest = Rest(people.viewer)
    for route in everything:
        if route.scope == "write" and route.of_project:
            refused(route.ask(rest), 403, "NOT_ALLOWED")


def test_the_owner_may_do_it_all(
    everything: list[Route], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = Rest(people.owner)
    for route in everything:
        if route.name == "image" and route.method == "DELETE":
            continue  # in use by the container; test_images deletes one
        answer = route.ask(rest)
        if route.name == "container-kill":
            refused(answer, 503, "NODE_UNREACHABLE")  # about to run, and no agent listens here
        else:
            assert answer.status_code in (200, 201, 202, 204), (route, answer.content)


def test_the_administrator_sees_nodes(people: People, rest: Callable[[str], Rest]) -> None:
    make_container(people.project)
    assert [node["name"] for node in rest(people.administrator).get("/api/v1/nodes").json()["items"]] == [
        "local"
    ]
    assert rest(people.administrator).get("/api/v1/nodes/local").json()["live"] is True
    assert rest(people.owner).get("/api/v1/nodes").json()["items"] == []
    refused(rest(people.owner).get("/api/v1/nodes/local"), 404, "NOT_FOUND")
