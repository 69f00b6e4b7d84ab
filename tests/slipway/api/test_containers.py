from __future__ import annotations

from typing import Any

import pytest

from slipway.containers.models import Container, State
from tests.factories import make_container, make_image
from tests.fake_agent import FakeAgent
from tests.roads import RecordingRoad
from tests.slipway.api.conftest import Edge, People, Rest
from workers.messages import RemoveContainer, RunContainer, StopContainer

ALL = {
    "image": "busybox",
    "name": "web",
    "entrypoint": ["/bin/sh", "-c"],
    "command": ["echo  two blanks ", ""],
    "env": ["A=b", "EMPTY="],
    "working_dir": "/srv",
    "user": "1000:1000",
    "hostname": "web-1",
    "tty": True,
    "stop_signal": "int",
    "read_only": True,
    "labels": {"tier": ""},
    "limits": {"memory_bytes": 64 << 20, "cpu_millis": 250, "pids": 32},
    "start": True,
}
RUNNING = {"observed": State.RUNNING, "run": 1, "desired": State.RUNNING}


def test_all_that_is_asked_for_reaches_the_node(people: People, road: RecordingRoad) -> None:
    image = make_image(people.project)
    answer = Rest(people.owner).post(f"{people.path}/containers", ALL)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert answer["Location"] == f"{people.path}/containers/{body['id']}"
    [command] = road.take()
    assert isinstance(command, RunContainer)
    spec = command.spec
    assert (command.container, command.generation, command.run) == (body["id"], 1, 1)
    assert (spec.image_id, spec.name, spec.hostname) == (image.image_id, "web", "web-1")
    assert (spec.entrypoint, spec.command) == (("/bin/sh", "-c"), ("echo  two blanks ", ""))
    assert (spec.env, spec.labels, spec.user) == (("A=b", "EMPTY="), {"tier": ""}, "1000:1000")
    assert (spec.tty, spec.read_only, spec.stop_signal) == (True, True, "SIGINT")
    assert (spec.limits.memory_bytes, spec.limits.cpu_millis, spec.limits.pids) == (64 << 20, 250, 32)
    assert body["config"]["command"] == ["echo  two blanks ", ""]
    assert (body["state"], body["desired"], body["pending"], body["run"]) == ("created", "running", True, 0)


def test_what_is_not_given_is_as_the_image_says(people: People, road: RecordingRoad) -> None:
    make_image(people.project)
    body = Rest(people.owner).post(f"{people.path}/containers", {"image": "busybox", "start": False}).json()
    assert road.take() == []
    assert (body["state"], body["desired"], body["pending"]) == ("created", "created", False)
    assert body["config"]["entrypoint"] is None
    assert body["config"]["command"] is None
    assert body["config"]["hostname"] == body["id"][:12]
    assert "_" in body["name"]


def test_a_container_goes_its_way(people: People, road: RecordingRoad) -> None:
    make_image(people.project)
    rest = Rest(people.owner)
    created = rest.post(f"{people.path}/containers", {"image": "busybox", "name": "web", "start": False})
    key = created.json()["id"]
    at = f"{people.path}/containers/web"
    assert rest.post(f"{at}/start").status_code == 202
    [command] = road.take()
    assert isinstance(command, RunContainer)
    Container.objects.update(observed=State.RUNNING, run=1, observed_generation=1)
    refused = rest.delete(at)
    assert (refused.status_code, refused.json()["code"]) == (409, "CONTAINER_RUNNING")
    assert rest.post(f"{at}/stop", {"timeout": 2.5}).json()["desired"] == "exited"
    assert road.take() == [StopContainer(key, 2, 2.5)]
    refused = rest.post(f"{at}/start")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONTAINER_BUSY")
    Container.objects.update(observed=State.EXITED, exit_code=3, observed_generation=2)
    removing = rest.delete(at)
    assert (removing.status_code, removing.json()["state"]) == (202, "removing")
    assert road.take() == [RemoveContainer(key, 3)]
    assert rest.post(f"{at}/start").json()["code"] == "CONTAINER_REMOVED"


def test_a_removed_container_is_still_told_of_by_its_id(people: People) -> None:
    container = make_container(people.project, name="web", removed_at="2026-01-01T00:00:00Z", exit_code=3)
    rest = Rest(people.owner)
    assert rest.get(f"{people.path}/containers/{container.id}").json()["exit_code"] == 3
    assert rest.get(f"{people.path}/containers/web").status_code == 404
    assert rest.get(f"{people.path}/containers", all="true").json()["items"] == []
    found = rest.get(f"{people.path}/containers", removed="true").json()["items"]
    assert [item["id"] for item in found] == [container.id]


def test_the_list_shows_what_runs_or_is_about_to(people: People) -> None:
    make_container(people.project, name="runs", **RUNNING)
    make_container(people.project, name="starts", desired=State.RUNNING, desired_generation=1)
    make_container(people.project, name="idle")
    make_container(people.project, name="ended", observed=State.EXITED, run=1)
    rest = Rest(people.owner)

    def names(**query: Any) -> set[str]:
        return {item["name"] for item in rest.get(f"{people.path}/containers", **query).json()["items"]}

    assert names() == {"runs", "starts"}
    assert names(all="true") == {"runs", "starts", "idle", "ended"}


def test_a_container_of_another_project_is_unknown_even_by_its_id(people: People) -> None:
    theirs = make_container()
    answer = Rest(people.owner).get(f"{people.path}/containers/{theirs.id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_forced_removal_kills_first(people: People, road: RecordingRoad) -> None:
    make_container(people.project, name="web", **RUNNING)
    answer = Rest(people.owner).delete(f"{people.path}/containers/web?force=true")
    assert answer.status_code == 202
    [command] = road.take()
    assert isinstance(command, RemoveContainer)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"timeout": -1}, "VALUE_INVALID"),
        ({"timeout": "soon"}, "VALIDATION_FAILED"),
        ({"seconds": 1}, "VALIDATION_FAILED"),
    ],
)
def test_a_wrong_stop_is_refused(people: People, body: dict[str, Any], code: str) -> None:
    make_container(people.project, name="web", **RUNNING)
    answer = Rest(people.owner).post(f"{people.path}/containers/web/stop", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_signal_goes_to_the_agent_at_once(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    from asgiref.sync import sync_to_async

    container = await sync_to_async(make_container)(crowd.project, name="web", **RUNNING)
    idle = await sync_to_async(make_container)(crowd.project, name="idle")
    path = f"{crowd.path}/containers"
    async with edge.request("POST", f"{path}/web/kill", crowd.owner, json={"signal": "hup"}) as answer:
        assert answer.status == 204, await answer.text()
    assert agent.kills == [(container.id, "SIGHUP")]
    async with edge.request("POST", f"{path}/web/kill", crowd.owner, json={"signal": "nothing"}) as answer:
        assert (await answer.json(content_type=None))["code"] == "SPEC_INVALID"
    async with edge.request("POST", f"{path}/{idle.name}/kill", crowd.owner) as answer:
        assert answer.status == 409
        assert (await answer.json(content_type=None))["code"] == "CONTAINER_NOT_RUNNING"
