"""Pulls, pushes, names, accounts and archives through REST."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse

from slipway import events
from slipway.catalog import credentials_api
from slipway.catalog.asking import Refused
from slipway.catalog.models import RegistryCredential
from slipway.jobs.models import Job
from tests.factories import digest, make_image, make_library, make_node
from tests.fake_agent import FakeAgent
from tests.roads import RecordingRoad
from tests.slipway.api.conftest import Edge, People, Rest
from workers.messages import LayerProgress, LayersProgressed, PullImage

SECRET = "s3cret of the registry"


def test_a_pull_is_a_job_whose_layers_are_told(people: People, road: RecordingRoad) -> None:
    rest = Rest(people.owner)
    answer = rest.post(f"{people.path}/images/pull", {"reference": "busybox:1.36"})
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["subject"]) == ("image.pull", "busybox:1.36")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert rest.get(answer["Location"]).json()["layers"] == []
    layers = (LayerProgress(digest("a"), "downloading", 3, 9),)
    events.apply(LayersProgressed(command.job, layers), make_node(), Job.objects.get().created_at)
    told = [{"digest": digest("a"), "state": "downloading", "done": 3, "total": 9}]
    assert rest.get(answer["Location"]).json()["layers"] == told


def test_a_pull_sent_again_with_its_key_is_done_once(people: People) -> None:
    client = Rest(people.owner).client
    for _ in range(2):
        answer = client.post(
            f"{people.path}/images/pull",
            {"reference": "busybox"},
            content_type="application/json",
            headers={"idempotency-key": "one"},
        )
        assert answer.status_code == 202
    assert Job.objects.count() == 1


def test_a_registry_that_is_not_allowed_is_a_403(people: People) -> None:
    answer = Rest(people.owner).post(f"{people.path}/images/pull", {"reference": "10.1.2.3:5000/web"})
    assert (answer.status_code, answer.json()["code"]) == (403, "REGISTRY_NOT_ALLOWED")
    assert "SLIPWAY_REGISTRIES_PRIVATE" in answer.json()["detail"]


def test_running_what_is_not_here_says_what_could_be_pulled(people: People) -> None:
    answer = Rest(people.owner).post(f"{people.path}/containers", {"image": "nginx"})
    assert (answer.status_code, answer.json()["code"]) == (404, "IMAGE_UNKNOWN")
    assert answer.json()["facts"]["pull"] == "docker.io/library/nginx:latest"


def test_names_are_given_and_taken_away(people: People) -> None:
    image = make_image(people.project, "team/web:1")
    rest = Rest(people.owner)
    tagged = rest.post(f"{people.path}/images/team/web:1/tag", {"reference": "web:stable"}).json()
    assert (tagged["id"], tagged["references"]) == (image.image_id, ["team/web:1", "web:stable"])
    rest.post(f"{people.path}/images/web:stable/untag")
    left = rest.post(f"{people.path}/images/{image.image_id}/untag", {"reference": "team/web:1"}).json()
    assert left["references"] == []
    page = rest.get(f"{people.path}/images", dangling="true").json()
    assert [each["id"] for each in page["items"]] == [image.image_id]
    assert rest.post(f"{people.path}/images/web:stable/untag").status_code == 404


def test_lists_tell_what_docker_tells(people: People) -> None:
    image = make_image(people.project, "web:1", layers=("a", "b"))
    make_image(people.project, "other:1", layers=("a",))
    image.origins.create(
        kind="pull", name="example.org/web", tag="1", digest=digest("m"), index_digest=digest("i")
    )
    body = Rest(people.viewer).get(f"{people.path}/images", name="web").json()["items"][0]
    assert body["digests"] == [f"example.org/web@{digest('i')}"]
    assert (body["size"], body["shared_size"], body["unique_size"]) == (200, 100, 100)
    assert (body["containers"], body["labels"], body["made_at"]) == (0, {}, "")
    detail = Rest(people.viewer).get(f"{people.path}/images/web:1").json()
    assert detail["origins"][0]["reference"] == "example.org/web:1"
    disk = Rest(people.viewer).get(f"{people.path}/disk").json()
    assert (disk["size"], disk["disk"], disk["unused_images"]) == (300, 200, 2)


def test_an_account_is_set_tested_and_forgotten_but_never_shown(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, path = Rest(people.owner), f"{people.path}/registry-credentials/example.org"
    body = {"username": "ada", "secret": SECRET}
    made = rest.client.put(path, body, content_type="application/json")
    assert (made.status_code, made.json()["username"]) == (201, "ada")
    again = rest.client.put(path, body, content_type="application/json")
    listed = rest.get(f"{people.path}/registry-credentials")

    class Grumpy:
        def __init__(self, host: str, registries: Any, account: Any) -> None:
            assert (host, account.secret) == ("example.org", SECRET)

        async def sign_in(self) -> None:
            raise Refused("example.org does not accept this name and secret")

    monkeypatch.setattr(credentials_api.CredentialTest, "registry", Grumpy)
    tested = rest.post(f"{path}/test")
    assert tested.json()["test_error"] == "example.org does not accept this name and secret."
    audit = rest.get(f"/api/v1/teams/{people.project.team.slug}/audit")
    assert audit.status_code == 200
    for answer in (made, again, listed, tested, audit):
        assert SECRET not in answer.content.decode()
    assert rest.delete(path).status_code == 204
    assert not RegistryCredential.objects.exists()
    assert rest.delete(path).status_code == 404


def test_a_search_finds_what_one_may_see(people: People, settings: Any) -> None:
    make_image(people.project, "team/web:1")
    make_image(make_library(), "webserver:2")
    make_image(None, "secret-web:1")
    address = reverse("api:image-search")
    body = Rest(people.viewer).get(address, q="web").json()
    assert [(each["kind"], each["reference"]) for each in body["items"]] == [
        ("local", "team/web:1"),
        ("library", "webserver:2"),
    ]
    only = Rest(people.viewer).get(address, q="web", kind="library").json()
    assert [each["kind"] for each in only["items"]] == ["library"]
    theirs = Rest(people.stranger).get(address, q="web", project=people.project.path)
    assert theirs.status_code == 404
    assert Rest(people.stranger).get(address, q="team web").json()["items"] == []


async def test_an_archive_comes_from_the_node_as_it_is_written(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    image = await sync_to_async(make_image)(crowd.project, "team/web:1")
    agent.archives[image.image_id] = [bytes([number]) * (1 << 20) for number in range(20)]
    async with edge.get(f"{crowd.path}/images/team/web:1/archive", crowd.viewer, format="oci") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/x-tar"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="team_web_1.tar"'
        body = await answer.read()
    assert hashlib.sha256(body).digest() == hashlib.sha256(b"".join(agent.archives[image.image_id])).digest()
    assert agent.saved == [(crowd.project.hex, image.image_id, "oci", ["team/web:1"])]


async def test_an_archive_the_node_refuses_is_a_problem_and_not_an_empty_file(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    image = await sync_to_async(make_image)(crowd.project, "web:1")
    path = f"{crowd.path}/images/web:1/archive"
    async with edge.get(path, crowd.viewer) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "IMAGE_UNKNOWN")
    agent.archives[image.image_id] = [b"half"]
    agent.cut_archive = True
    with pytest.raises(Exception, match=r"payload|closed|disconnected"):
        async with edge.get(path, crowd.viewer) as answer:
            await answer.read()
    async with edge.get(path, crowd.stranger) as answer:
        assert answer.status == 404
