"""Builds over a real server: every way of sending a context, and what is answered."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import aiohttp
import pytest
from asgiref.sync import sync_to_async

from slipway.builds.models import Build
from tests.fake_agent import FakeAgent
from tests.roads import RecordingRoad
from tests.slipway.api.conftest import Edge, People
from workers.messages import BuildImage

CONTEXT = b"not really a tar" * 5000
DIGEST = f"sha256:{hashlib.sha256(CONTEXT).hexdigest()}"
TAR = {"Content-Type": "application/x-tar"}
TEXT = {"dockerfile_text": "FROM busybox\n"}


async def post(edge: Edge, people: People, path: str = "", **more: Any) -> tuple[int, dict[str, Any], Any]:
    token = more.pop("token", people.owner)
    async with edge.request("POST", f"{people.path}/builds{path}", token, **more) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


def commands(road: RecordingRoad) -> list[BuildImage]:
    return [each for each in road.sent if isinstance(each, BuildImage)]


async def test_a_dockerfile_alone_is_built(edge: Edge, crowd: People, road: RecordingRoad) -> None:
    body = {**TEXT, "tags": ["web"], "args": {"A": "1"}, "secrets": {"key": "value"}, "timeout": 60}
    status, build, headers = await post(edge, crowd, json=body)
    assert status == 202, build
    assert (build["number"], build["state"], build["tags"]) == (1, "queued", ["web:latest"])
    assert headers["Location"] == f"{crowd.path}/builds/1"
    (command,) = commands(road)
    assert command.options.secrets == {"key": "value"}
    async with edge.get(headers["Location"], crowd.owner) as answer:
        shown = await answer.json()
    assert (shown["secrets"], shown["steps"], shown["options"]["args"]) == (["key"], [], {"A": "1"})
    assert "value" not in json.dumps(shown)


async def test_an_archive_passes_to_the_agent_and_is_kept_for_a_retry(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    query = [
        ("tags", "web:1"),
        ("tags", "web:2"),
        ("args", '{"A": "b c"}'),
        ("dockerfile", "docker/Dockerfile"),
    ]
    headers = {"Content-Type": "application/x-tar"}
    status, build, _ = await post(edge, crowd, data=CONTEXT, headers=headers, params=query)
    assert status == 202, build
    assert (agent.uploads, agent.dropped) == ({DIGEST: len(CONTEXT)}, [])
    (command,) = commands(road)
    assert (command.source.kind, command.source.upload) == ("upload", DIGEST)
    assert (command.options.tags, command.options.args) == (("web:1", "web:2"), {"A": "b c"})
    status, refused, _ = await post(edge, crowd, "/1/retry", json={})
    assert (status, refused["code"]) == (409, "JOB_ACTIVE")
    assert agent.kept == []


async def test_a_form_brings_options_and_context(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    form = aiohttp.FormData()
    form.add_field("options", json.dumps({"tags": ["web"], "secrets": {"key": "value"}}))
    form.add_field("context", CONTEXT, filename="context.zip", content_type="application/zip")
    status, build, _ = await post(edge, crowd, data=form)
    assert status == 202, build
    (command,) = commands(road)
    assert (command.source.upload, command.options.secrets) == (DIGEST, {"key": "value"})


async def test_a_folder_sends_what_is_missing_once(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    data = b"FROM busybox\n"
    key = hashlib.sha256(data).hexdigest()
    manifest = json.dumps({"p": "Dockerfile", "t": "f", "m": 0o644, "s": len(data), "h": key}).encode()
    status, told, _ = await post(edge, crowd, "/contexts", data=manifest)
    assert (status, told["missing"], told["size"]) == (200, [key], len(data))
    status, refused, _ = await post(edge, crowd, json={"context": told["context"]})
    assert (status, refused["code"]) == (409, "CONTEXT_INCOMPLETE")
    contents = f"{key} {len(data)}\n".encode() + data
    status, taken, _ = await post(edge, crowd, f"/contexts/{told['context']}", data=contents)
    assert (status, taken) == (200, {"taken": 1})
    status, build, _ = await post(edge, crowd, json={"context": told["context"], "name": "my folder"})
    assert status == 202, build
    assert commands(road)[0].source.upload in agent.uploads
    status, again, _ = await post(edge, crowd, "/contexts", data=manifest)
    assert again["missing"] == []


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"data": b"x", "headers": TAR, "params": {"secrets": '{"a":"b"}'}}, 400, "VALIDATION_FAILED"),
        ({"json": {}}, 400, "BUILD_INVALID"),
        ({"json": {**TEXT, "squash": True}}, 400, "BUILD_PARAMETER_UNSUPPORTED"),
        ({"json": {**TEXT, "colour": "red"}}, 400, "VALIDATION_FAILED"),
        ({"json": {**TEXT, "args": {"a": 1, "b": {}}}}, 400, "VALIDATION_FAILED"),
        ({"json": {**TEXT, "tags": ["No Name"]}}, 400, "REFERENCE_INVALID"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "BODY_MALFORMED"),
        ({"data": b"", "headers": {"Content-Type": "application/json"}}, 400, "BODY_MALFORMED"),
        ({"data": b"x", "headers": {"Content-Type": "text/html"}}, 415, "MEDIA_TYPE_UNSUPPORTED"),
        (
            {
                "data": b"x",
                "headers": {"Content-Type": "application/x-tar"},
                "params": {"secrets": '{"a":"b"}'},
            },
            400,
            "VALIDATION_FAILED",
        ),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_kept(
    edge: Edge, crowd: People, agent: FakeAgent, more: Any, status: int, code: str
) -> None:
    answered, body, _ = await post(edge, crowd, **more)
    assert (answered, body["code"]) == (status, code)
    assert not agent.uploads
    assert await sync_to_async(Build.objects.count)() == 0


async def test_a_context_is_refused_by_what_its_options_say_before_it_flows(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    headers = {"Content-Type": "application/x-tar"}
    status, body, _ = await post(edge, crowd, data=CONTEXT, headers=headers, params={"network": "host"})
    assert (status, body["code"], agent.uploads) == (400, "BUILD_INVALID", {})


async def test_the_same_request_is_built_once(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    headers = {"Idempotency-Key": "one", "Content-Type": "application/x-tar"}
    first = await post(edge, crowd, data=CONTEXT, headers=headers)
    second = await post(edge, crowd, data=CONTEXT, headers=headers)
    assert first[1]["id"] == second[1]["id"]
    assert len(commands(road)) == 1
    assert agent.dropped == [DIGEST]  # what came the second time is wanted by nobody


async def test_the_log_is_read_by_step(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    _, build, _ = await post(edge, crowd, json=TEXT)
    log = agent.log(build["id"])
    await log.write("one", stream="1:stdout")
    await log.write("two", stream="2:stderr")
    for query, expected in (({}, "one\ntwo\n"), ({"step": "2"}, "two\n"), ({"stream": "stdout"}, "one\n")):
        async with edge.get(f"{crowd.path}/builds/1/logs", crowd.owner, **query) as answer:
            assert await answer.text() == expected


async def test_lists_are_filtered_and_strangers_are_told_nothing(edge: Edge, crowd: People) -> None:
    await post(edge, crowd, json={**TEXT, "group": "web"})
    await post(edge, crowd, json=TEXT)
    await post(edge, crowd, "/2/cancel")
    for query, numbers in (({}, [2, 1]), ({"group": "web"}, [1]), ({"state": "failed"}, [])):
        async with edge.get(f"{crowd.path}/builds", crowd.owner, **query) as answer:
            assert [each["number"] for each in (await answer.json())["items"]] == numbers
    async with edge.get(f"{crowd.path}/builds/1", crowd.stranger) as answer:
        assert answer.status == 404
