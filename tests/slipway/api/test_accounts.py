from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway.accounts.models import Token
from slipway.audit.models import Entry
from tests.slipway.api.conftest import People, Rest


def test_me_tells_user_token_and_roles(people: People) -> None:
    body = Rest(people.readonly).get("/api/v1/me").json()
    assert body["user"]["is_administrator"] is False
    assert body["token"]["scopes"] == ["read"]
    assert body["token"]["prefix"] == people.readonly.split("_")[1]
    assert body["roles"] == {people.project.team.slug: "owner"}


def test_a_team_is_founded_and_owned(people: People) -> None:
    rest = Rest(people.stranger)
    answer = rest.post("/api/v1/teams", {"slug": "fresh-team", "name": "Fresh"})
    assert answer.status_code == 201
    assert answer["Location"] == "/api/v1/teams/fresh-team"
    assert rest.get(answer["Location"]).json() == answer.json()
    [member] = rest.get("/api/v1/teams/fresh-team/members").json()["items"]
    assert member["role"] == "owner"
    again = rest.post("/api/v1/teams", {"slug": "fresh-team"})
    assert (again.status_code, again.json()["code"]) == (409, "NAME_TAKEN")
    assert rest.post("/api/v1/teams", {"slug": "No Slug"}).json()["code"] == "NAME_INVALID"


def test_members_are_listed_by_name(people: People) -> None:
    found = Rest(people.viewer).get(f"/api/v1/teams/{people.project.team.slug}/members").json()["items"]
    assert [member["role"] for member in found] == ["owner", "viewer"]
    assert [member["username"] for member in found] == sorted(member["username"] for member in found)


def test_a_token_is_shown_once(people: People) -> None:
    rest = Rest(people.owner)
    asked = {"name": "ci", "scopes": ["write"], "project": people.project.path}
    answer = rest.post("/api/v1/tokens", asked)
    assert answer.status_code == 201
    issued = answer.json()
    text = issued.pop("token")
    assert text.startswith("slp_")
    assert rest.get(answer["Location"]).json() == issued
    assert text not in rest.get("/api/v1/tokens").content.decode()
    assert issued["project"] == people.project.path
    fresh = Rest(text)
    assert [each["path"] for each in fresh.get("/api/v1/projects").json()["items"]] == [people.project.path]


def test_a_revoked_token_opens_nothing_and_may_be_revoked_again(people: People) -> None:
    rest = Rest(people.owner)
    issued = rest.post("/api/v1/tokens", {"name": "ci"})
    assert rest.delete(issued["Location"]).status_code == 204
    refused = Rest(issued.json()["token"]).get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "TOKEN_REVOKED")
    assert rest.delete(issued["Location"]).status_code == 204


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"scopes": []}, "VALIDATION_FAILED", 400),
        ({"scopes": ["everything"]}, "VALIDATION_FAILED", 400),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "VALUE_INVALID", 400),
        ({"expires_at": "tomorrow"}, "VALIDATION_FAILED", 400),
        ({"project": "nothing"}, "VALIDATION_FAILED", 400),
        ({"project": "no/thing"}, "NOT_FOUND", 404),
        ({"name": "  "}, "VALIDATION_FAILED", 400),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    people: People, change: dict[str, Any], code: str, status: int
) -> None:
    answer = Rest(people.owner).post("/api/v1/tokens", {"name": "x", **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_token_expires_on_time(people: People) -> None:
    at = timezone.now() + timedelta(hours=1)
    issued = Rest(people.owner).post("/api/v1/tokens", {"name": "x", "expires_at": at.isoformat()})
    rest = Rest(issued.json()["token"])
    assert rest.get("/api/v1/me").status_code == 200
    Token.objects.filter(prefix=issued.json()["prefix"]).update(expires_at=timezone.now())
    assert rest.get("/api/v1/me").json()["code"] == "TOKEN_EXPIRED"


def test_the_audit_log_knows_the_token_and_where_it_came_from(people: People) -> None:
    Rest(people.owner).post("/api/v1/projects", {"team": people.project.team.slug, "slug": "audited"})
    entry = Entry.objects.get(action="project.create", object_name__endswith="/audited")
    assert people.owner.split("_")[1] in entry.actor
    assert entry.origin == "127.0.0.1"


def test_a_project_is_created_and_found(people: People) -> None:
    rest = Rest(people.owner)
    team = people.project.team.slug
    answer = rest.post("/api/v1/projects", {"team": team, "slug": "shop", "name": "Shop"})
    assert answer.status_code == 201
    assert answer["Location"] == f"/api/v1/projects/{team}/shop"
    body = rest.get(answer["Location"]).json()
    assert (body["path"], body["name"], body["library"]) == (f"{team}/shop", "Shop", False)
    assert body["maxima"] == {"memory_bytes": 4 << 30, "cpu_millis": 4000, "pids": 4096}
    assert body["subnet"].endswith(".0/24")
    taken = rest.post("/api/v1/projects", {"team": team, "slug": "shop"})
    assert (taken.status_code, taken.json()["code"]) == (409, "NAME_TAKEN")
    assert rest.get("/api/v1/projects", team="unknown-team").status_code == 404
