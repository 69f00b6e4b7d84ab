"""The audit log by REST and in the console: for whom, filtered, paged, exported."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, Role
from slipway.accounts.services import issue_token
from slipway.audit.chain import PARTS
from slipway.audit.models import Entry
from slipway.audit.services import record
from slipway.containers.requests import ContainerRequest
from slipway.containers.services import create_container
from tests.factories import make_actor, make_image, make_project, make_team, make_user

pytestmark = pytest.mark.django_db
CANARY = "canary-41d0b7"


@pytest.fixture(autouse=True)
def plain_static_names(settings: Any) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def browser(actor: Actor) -> Client:
    client = Client()
    assert actor.user is not None
    client.force_login(actor.user)
    return client


def bearer(actor: Actor) -> Client:
    token = issue_token(actor, "test", scopes=["admin"])[1]
    return Client(headers={"authorization": f"Bearer {token}", "user-agent": "robot/1.0"})


def text_of(answer: Any) -> str:
    async def collect() -> str:
        return b"".join([piece async for piece in answer.streaming_content]).decode()

    return async_to_sync(collect)()


def test_a_team_reads_its_own_log_and_no_other() -> None:
    team, other = make_team(), make_team()
    maintainer = make_actor(team, Role.MAINTAINER)
    record(maintainer, "thing.do", team)
    record(make_actor(other), "thing.hide", other)
    client = browser(maintainer)
    items = client.get("/api/v1/audit").json()["items"]
    assert [each["action"] for each in items] == ["thing.do"]
    assert client.get(f"/api/v1/teams/{team.slug}/audit").json()["items"] == items
    assert client.get(f"/api/v1/teams/{other.slug}/audit").status_code == 404
    page = client.get("/audit/").content.decode()
    assert "thing.do" in page
    assert "thing.hide" not in page


def test_developers_and_viewers_do_not_read_it() -> None:
    team = make_team()
    record(make_actor(team), "thing.do", team)
    client = browser(make_actor(team, Role.DEVELOPER))
    assert client.get("/api/v1/audit").json()["items"] == []
    assert client.get(f"/api/v1/teams/{team.slug}/audit").status_code == 403
    assert client.get(f"/api/v1/teams/{team.slug}/audit/export").status_code == 403
    assert client.get("/audit/").status_code == 403


def test_an_administrator_reads_all_of_it() -> None:
    for _ in range(2):
        team = make_team()
        record(make_actor(team), "thing.do", team)
    client = browser(Actor(user=make_user(is_staff=True)))
    assert len(client.get("/api/v1/audit").json()["items"]) == 2
    assert client.get("/audit/").status_code == 200


def test_it_is_searched_by_who_what_and_when() -> None:
    team = make_team()
    ann, bob = make_actor(team, username="ann"), make_actor(team, username="bob")
    for actor, action in [(ann, "container.start"), (ann, "container.stop"), (bob, "token.issue")]:
        record(actor, action, team)
    client = browser(ann)

    def found(**query: str) -> list[str]:
        return [each["action"] for each in client.get("/api/v1/audit", query).json()["items"]]

    assert found(actor="bob") == ["token.issue"]
    assert found(action="container.*") == ["container.stop", "container.start"]
    assert found(action="container.stop") == ["container.stop"]
    assert len(found(object=team.slug)) == 3
    assert found(since="2100-01-01T00:00:00Z") == []
    assert found(until="2000-01-01T00:00:00Z") == []
    assert client.get("/api/v1/audit", {"since": "yesterday"}).status_code == 400
    assert "bob" in client.get("/audit/?actor=bob&since=2000-01-01").content.decode()


def test_an_entry_says_from_where_and_by_which_program() -> None:
    team = make_team()
    client = bearer(make_actor(team))
    client.post("/api/v1/projects", {"team": team.slug, "slug": "shop"}, content_type="application/json")
    entry = Entry.objects.get(action="project.create")
    assert (entry.origin, entry.user_agent) == ("127.0.0.1", "robot/1.0")
    assert entry.token_prefix
    assert entry.token_prefix in entry.actor
    assert entry.request_id


def test_exports_hold_everything_in_order() -> None:
    team = make_team()
    actor = make_actor(team)
    for number in range(3):
        record(actor, "thing.do", team, before={"n": number}, after={"n": number + 1}, note="=1+1")
    client = browser(actor)
    lines = text_of(client.get(f"/api/v1/teams/{team.slug}/audit/export")).splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["seq"] for entry in entries] == [1, 2, 3]
    assert set(entries[0]) == {*PARTS, "digest"}
    answer = client.get("/audit/export.csv")
    assert answer["Content-Disposition"].endswith('.csv"')
    rows = list(csv.DictReader(io.StringIO(text_of(answer))))
    assert [row["after"] for row in rows] == ['{"n": 1}', '{"n": 2}', '{"n": 3}']
    assert client.get("/audit/export.xml").status_code == 404


def test_a_name_like_a_formula_is_none_in_the_spreadsheet() -> None:
    team = make_team()
    actor = make_actor(team, username="=cmd()")
    record(actor, "thing.do", team)
    assert "'=cmd()" in text_of(browser(actor).get("/audit/export.csv"))


def test_no_secret_of_a_request_reaches_the_log_or_its_exports() -> None:
    project = make_project()
    actor = make_actor(project.team)
    make_image(project)
    client = bearer(actor)
    request = ContainerRequest("busybox", env=(f"PASSWORD={CANARY}",), command=("sh", "-c", CANARY))
    create_container(actor, project, request)
    body = {"image": "busybox", "env": [f"KEY={CANARY}"], "command": [CANARY], "start": False}
    answer = client.post(f"/api/v1/projects/{project.path}/containers", body, content_type="application/json")
    assert answer.status_code == 201
    token = client.post("/api/v1/tokens", {"name": "t"}, content_type="application/json").json()["token"]
    exported = text_of(client.get(f"/api/v1/teams/{project.team.slug}/audit/export"))
    assert len(exported.splitlines()) >= 2
    for text in (exported, str(list(Entry.objects.values_list()))):
        assert CANARY not in text
        assert token.split("_")[2] not in text


def test_ten_thousand_entries_cost_what_ten_do() -> None:
    team = make_team()
    actor = make_actor(team)
    client = browser(actor)

    def cost(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return len(queries)

    record(actor, "thing.do", team)
    addresses = ["/api/v1/audit", f"/api/v1/teams/{team.slug}/audit", "/audit/"]
    before = [cost(address) for address in addresses]
    Entry.objects.bulk_create(
        Entry(seq=seq, digest="0", actor="ann", action="thing.do", object_id="x", team_id=team.pk)
        for seq in range(2, 10_002)
    )
    assert [cost(address) for address in addresses] == before
    assert Membership.objects.filter(team=team).count() == 1
