"""Pages by cursor: complete, stable while rows come and go, and as cheap at the end as at the beginning."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from slipway.containers.models import Container
from tests.factories import make_container, make_image, make_job, make_project
from tests.slipway.api.conftest import People, Rest


def fill(people: People, count: int) -> list[Container]:
    """``count`` containers, many of the same instant."""
    first = make_container(people.project)
    now = timezone.now()
    rows = [
        Container(
            project=people.project,
            node=first.node,
            image=first.image,
            image_name="busybox",
            spec=first.spec,
            name=f"row{number}",
            created_at=now - timedelta(seconds=number // 7),
        )
        for number in range(count - 1)
    ]
    return [first, *Container.objects.bulk_create(rows)]


def pages(rest: Rest, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    answer = rest.get(path, **query).json()
    found = [answer["items"]]
    while answer["next"]:
        answer = rest.get(answer["next"]).json()
        found.append(answer["items"])
    return found


def test_a_thousand_rows_come_once_each_in_order_with_constant_queries(people: People) -> None:
    rows = fill(people, 1000)
    rest, path = Rest(people.owner), f"{people.path}/containers?all=true&limit=100"
    costs = []
    found: list[dict[str, Any]] = []
    address: str | None = path
    while address:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = rest.get(address).json()
        costs.append(len(queries))
        found += answer["items"]
        address = answer["next"]
    expected = sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
    assert [item["id"] for item in found] == [row.id for row in expected]
    assert len(set(costs[1:])) == 1, costs
    assert max(costs) <= 6


@pytest.mark.parametrize("count", [1, 30])
def test_every_list_costs_the_same_however_long(people: People, count: int) -> None:
    for _ in range(count):
        make_image(people.project, name=f"image{uuid.uuid4().hex[:8]}:1")
        make_job(people.project)
        make_container(people.project)
        make_project(people.project.team)
    rest = Rest(people.owner)
    rest.get("/api/v1/me")  # notes the token's last use
    for path, most in (
        (f"{people.path}/images", 10),
        (f"{people.path}/jobs", 5),
        (f"{people.path}/containers?all=true", 4),
        ("/api/v1/projects", 3),
        ("/api/v1/tokens", 3),
        ("/api/v1/teams", 3),
        (f"/api/v1/teams/{people.project.team.slug}/members", 5),
    ):
        with CaptureQueriesContext(connection) as queries:
            assert rest.get(path).status_code == 200
        assert len(queries) <= most, (path, [query["sql"] for query in queries])


def test_a_row_removed_between_two_pages_hides_no_other(people: People) -> None:
    rows = fill(people, 20)
    rest = Rest(people.owner)
    first = rest.get(f"{people.path}/containers", all="true", limit=10).json()
    Container.objects.filter(pk__in=[item["id"] for item in first["items"][3:]]).delete()
    make_container(people.project)
    second = rest.get(first["next"]).json()
    assert second["next"] is None
    seen = {item["id"] for item in first["items"] + second["items"]}
    assert seen == {row.id for row in rows}


def test_the_filter_goes_along_with_the_cursor(people: People) -> None:
    for number in range(6):
        make_container(people.project, observed="running" if number % 2 else "exited", run=1)
    found = pages(Rest(people.owner), f"{people.path}/containers", limit=2)
    assert [len(page) for page in found] == [2, 1]
    assert {item["state"] for page in found for item in page} == {"running"}


def test_slugs_order_the_projects(people: People) -> None:
    for slug in ("zeta", "alpha", "middle"):
        make_project(people.project.team, slug=slug)
    found = [item["path"] for page in pages(Rest(people.owner), "/api/v1/projects", limit=2) for item in page]
    assert found == sorted(found)
    assert len(found) == 5


@pytest.mark.parametrize("cursor", ["x", "eyJhIjoxfQ", "W10:1abcde:forged", "%00"])
def test_a_cursor_that_is_not_ours_is_refused(people: People, cursor: str) -> None:
    answer = Rest(people.owner).get(f"{people.path}/containers", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "CURSOR_INVALID")
    assert "next" in answer.json()["detail"]


def test_a_cursor_of_another_list_is_refused(people: People) -> None:
    fill(people, 3)
    rest = Rest(people.owner)
    address = rest.get(f"{people.path}/containers", all="true", limit=1).json()["next"]
    cursor = address.split("cursor=")[1].split("&")[0]
    for other in (f"{people.path}/jobs?cursor=", f"{people.path}/containers?cursor="):
        assert rest.get(f"{other}{cursor}").json()["code"] == "CURSOR_INVALID"


@pytest.mark.parametrize("limit", ["0", "-1", "201", "ten", "99999999999999999999"])
def test_a_limit_out_of_range_is_named(people: People, limit: str) -> None:
    answer = Rest(people.owner).get("/api/v1/teams", limit=limit)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "limit")
