"""Logs over a real server: text and NDJSON, positions, following, and clients and agents that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from slipway.containers.logs import container_log
from slipway.containers.models import Container, State
from slipway.jobs.models import Job, JobState
from slipway.nodes.agent import LogEntry
from slipway.nodes.log_reading import LogRequest, read_log
from tests.factories import make_container, make_job
from tests.fake_agent import FakeAgent
from tests.slipway.api.conftest import Edge, People
from workers.errors import NoSuchContainer

DEADLINE = 60.0


@pytest.fixture
async def container(crowd: People) -> Container:
    running = {"observed": State.RUNNING, "run": 1, "desired": State.RUNNING}
    return await sync_to_async(make_container)(crowd.project, name="web", **running)


async def mark_exited(container: Container) -> None:
    await Container.objects.filter(pk=container.pk).aupdate(observed=State.EXITED)


async def eventually(test: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not test():  # noqa: ASYNC110  # what is waited for is on the other side of a socket
            await asyncio.sleep(0.01)


async def text_of(edge: Edge, people: People, **query: Any) -> tuple[aiohttp.ClientResponse, str]:
    async with edge.get(f"{people.path}/containers/web/logs", people.owner, **query) as answer:
        return answer, await answer.text()


async def test_plain_text_is_the_lines(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    await agent.log(container.id).write("one", "two")
    await agent.log(container.id).write("wrong", stream="stderr")
    answer, text = await text_of(edge, crowd)
    assert text == "one\ntwo\nwrong\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Log-Position"] == "0"
    assert (await text_of(edge, crowd, stream="stderr"))[1] == "wrong\n"
    assert (await text_of(edge, crowd, tail=1, timestamps="true"))[1] == "2026-01-01T00:00:02Z wrong\n"


async def test_ndjson_says_where_to_resume(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    await agent.log(container.id).write("one", "zwei ü", "three")
    headers = {"Accept": "application/x-ndjson"}
    async with edge.request(
        "GET", f"{crowd.path}/containers/web/logs", crowd.owner, headers=headers
    ) as answer:
        entries = [json.loads(line) async for line in answer.content]
    assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert entries[1] == {
        "position": 10,
        "next": 20,
        "time": "2026-01-01T00:00:01Z",
        "stream": "stdout",
        "text": "zwei ü",
        "whole": True,
    }
    answer, text = await text_of(edge, crowd, format="ndjson", position=entries[1]["next"])
    assert json.loads(text)["text"] == "three"
    assert answer.headers["X-Log-Position"] == "20"


async def test_a_follow_brings_lines_as_they_come_and_ends_with_the_container(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    log = agent.log(container.id)
    async with (
        asyncio.timeout(DEADLINE),
        edge.get(f"{crowd.path}/containers/web/logs", crowd.owner, follow="true") as answer,
    ):
        assert answer.status == 200  # the headers come although there is no line yet
        await log.write("one")
        assert await answer.content.readline() == b"one\n"
        await log.write("two")
        assert await answer.content.readline() == b"two\n"
        await mark_exited(container)
        await log.end()
        assert await answer.content.read() == b""


async def test_a_jobs_log_is_followed_from_before_its_begin_to_its_end(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    job = await sync_to_async(make_job)(crowd.project)
    async with (
        asyncio.timeout(DEADLINE),
        edge.get(f"{crowd.path}/jobs/{job.hex}/logs", crowd.owner, follow="true") as answer,
    ):
        assert answer.status == 200  # nothing is known of it at its node
        log = agent.log(job.hex)
        await log.write("downloading")
        assert await answer.content.readline() == b"downloading\n"
        await log.write("E: no space", stream="stderr")
        await Job.objects.filter(pk=job.pk).aupdate(state=JobState.FAILED, started_at=timezone.now())
        await log.end()
        assert await answer.text() == "E: no space\n"


async def test_a_jobs_log_that_was_dropped_is_gone(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    job = await sync_to_async(make_job)(crowd.project, state=JobState.SUCCEEDED, started_at=timezone.now())
    async with edge.get(f"{crowd.path}/jobs/{job.hex}/logs", crowd.owner) as answer:
        assert (answer.status, (await answer.json())["code"]) == (410, "LOG_GONE")


async def test_a_follow_begins_before_the_container_does(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    starting = {"desired": State.RUNNING, "desired_generation": 1, "desired_run": 1}
    container = await sync_to_async(make_container)(crowd.project, name="web", **starting)
    async with (
        asyncio.timeout(DEADLINE),
        edge.get(f"{crowd.path}/containers/web/logs", crowd.owner, follow="true") as answer,
    ):
        assert answer.status == 200
        await agent.log(container.id).write("late")
        await agent.log(container.id).end()
        await Container.objects.filter(pk=container.pk).aupdate(
            observed=State.EXITED, run=1, observed_generation=1
        )
        assert await answer.text() == "late\n"


async def test_what_was_printed_between_two_looks_is_read(crowd: People) -> None:
    """The node knows nothing of the container yet; before the row is looked at, all has happened."""
    starting = {"desired": State.RUNNING, "desired_generation": 1, "desired_run": 1}
    container = await sync_to_async(make_container)(crowd.project, name="web", **starting)
    asked = 0

    async def source(*_: Any, **__: Any) -> AsyncIterator[LogEntry]:
        nonlocal asked
        asked += 1
        if asked == 1:
            ended = {"observed": State.EXITED, "run": 1, "observed_generation": 1}
            await Container.objects.filter(pk=container.pk).aupdate(**ended)
            raise NoSuchContainer(container.id)
        yield LogEntry(position=0, next=10, time="", stream="stdout", text="late", whole=True)

    asking = LogRequest(follow=True)
    found = [entry.text async for entry in read_log(container_log(container), asking, source)]
    assert found == ["late"]


async def test_a_follow_outlives_its_agent(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    log = agent.log(container.id)
    lines = [f"line {number}" for number in range(100)]
    await log.write(*lines)
    agent.cut_after = 40
    async with (
        asyncio.timeout(DEADLINE),
        edge.get(f"{crowd.path}/containers/web/logs", crowd.owner, follow="true") as answer,
    ):
        found = [(await answer.content.readline()).decode().strip() for _ in range(100)]
        assert found == lines
        await agent.stop()
        await agent.start()
        await log.write("after the restart")
        assert await answer.content.readline() == b"after the restart\n"
        await mark_exited(container)
        await log.end()
        assert await answer.content.read() == b""


async def test_a_client_that_leaves_takes_its_follow_along(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    await agent.log(container.id).write("one")
    async with edge.get(f"{crowd.path}/containers/web/logs", crowd.owner, follow="true") as answer:
        await answer.content.readline()
        assert agent.followers == 1
        answer.close()
    await eventually(lambda: agent.followers == 0)


async def test_a_slow_client_slows_the_agent_down(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    """Nothing in between keeps what the client does not take."""
    log = agent.log(container.id)
    line = "x" * 1000
    await log.write(*[line] * 30_000)
    await mark_exited(container)
    await log.end()
    read = 0
    async with edge.get(f"{crowd.path}/containers/web/logs", crowd.owner) as answer:
        await answer.content.readexactly(1001)
        read += 1001
        assert agent.followers == 1  # 30 MB do not fit into the buffers on the way
        async for piece in answer.content.iter_any():
            read += len(piece)
    assert read == 30_000 * 1001


async def test_a_container_never_started_has_an_empty_log(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    await sync_to_async(make_container)(crowd.project, name="web")
    answer, text = await text_of(edge, crowd)
    assert (answer.status, text) == (200, "")
    answer, text = await text_of(edge, crowd, follow="true")
    assert (answer.status, text) == (200, "")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"tail": "-1"}, "tail"),
        ({"tail": "1", "position": "1"}, "tail"),
        ({"stream": "both"}, "stream"),
        ({"position": "x"}, "position"),
        ({"folow": "1"}, "folow"),
    ],
)
async def test_a_wrong_query_is_named(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container, query: dict[str, str], field: str
) -> None:
    async with edge.get(f"{crowd.path}/containers/web/logs", crowd.owner, **query) as answer:
        body = await answer.json(content_type="application/problem+json")
        assert (answer.status, body["errors"][0]["field"]) == (400, field)


async def test_problems_come_before_the_headers(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    path = f"{crowd.path}/containers/web/logs"

    async def code(token: str | None, **query: Any) -> tuple[int, str]:
        async with edge.get(path, token, **query) as answer:
            return answer.status, (await answer.json(content_type="application/problem+json"))["code"]

    assert await code(None) == (401, "AUTHENTICATION_REQUIRED")
    assert await code(crowd.expired) == (401, "TOKEN_EXPIRED")
    assert await code(crowd.stranger) == (404, "NOT_FOUND")
    assert await code(crowd.elsewhere) == (404, "NOT_FOUND")
    assert await code(crowd.owner) == (410, "LOG_GONE")
    agent.refuse = 507, "NO_SPACE"
    assert await code(crowd.owner, follow="true") == (507, "NO_SPACE")
    agent.refuse = None
    await agent.stop()
    assert await code(crowd.owner) == (503, "NODE_UNREACHABLE")


async def test_a_viewer_and_a_readonly_token_may_read(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    await agent.log(container.id).write("one")
    for token in (crowd.viewer, crowd.readonly):
        async with edge.get(f"{crowd.path}/containers/web/logs", token) as answer:
            assert await answer.text() == "one\n"
