"""Waiting over a real server: what answers it, and what three hundred of them cost."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from slipway import hints
from slipway.containers.models import Container, State
from slipway.containers.waiting import Condition, reached
from slipway.threads import LANES
from tests.factories import make_container
from tests.fake_agent import FakeAgent
from tests.slipway.api.conftest import Edge, People

DEADLINE = 60.0
RUNNING = {"observed": State.RUNNING, "run": 1, "desired": State.RUNNING, "desired_generation": 1}


@pytest.fixture
async def container(crowd: People) -> Container:
    return await sync_to_async(make_container)(crowd.project, name="web", **RUNNING, observed_generation=1)


async def change(container: Container, **columns: Any) -> None:
    """As the observer does: write the fact, then say that there is one."""
    await Container.objects.filter(pk=container.pk).aupdate(**columns)
    await hints.send(hints.container_hints(container.id, container.project_id.hex, "state"))


async def wait(edge: Edge, people: People, patience: float = DEADLINE, **query: Any) -> dict[str, Any]:
    async with (
        asyncio.timeout(patience),
        edge.get(f"{people.path}/containers/web/wait", people.owner, **query) as answer,
    ):
        body: dict[str, Any] = await answer.json(content_type=None)
        assert answer.status == 200, body
        return body


async def test_an_exit_answers_at_once_with_its_code(edge: Edge, crowd: People, container: Container) -> None:
    waiting = asyncio.create_task(wait(edge, crowd))
    await asyncio.sleep(0.3)  # long enough to be waiting; the test holds without it, too
    assert not waiting.done()
    began = time.monotonic()
    await change(container, observed=State.EXITED, exit_code=3)
    body = await waiting
    assert time.monotonic() - began < 2  # by the hint, not by the look every ten seconds
    assert body["reached"] is True
    assert (body["container"]["state"], body["container"]["exit_code"]) == ("exited", 3)


async def test_the_timeout_answers_with_the_row_as_it_is(
    edge: Edge, crowd: People, container: Container
) -> None:
    body = await wait(edge, crowd, timeout="0.1")
    assert body["reached"] is False
    assert body["container"]["state"] == "running"


async def test_what_is_the_case_already_answers_at_once(edge: Edge, crowd: People) -> None:
    await sync_to_async(make_container)(crowd.project, name="web", observed=State.EXITED, run=1, exit_code=0)
    assert (await wait(edge, crowd))["reached"] is True
    assert (await wait(edge, crowd, condition="next-exit", timeout="0"))["reached"] is False


@pytest.mark.parametrize(
    ("condition", "now", "later", "expected"),
    [
        ("not-running", {}, {}, True),
        ("not-running", RUNNING, RUNNING, False),
        ("not-running", {}, {"desired": State.RUNNING, "desired_generation": 1}, False),
        ("not-running", RUNNING, {**RUNNING, "removed_at": 1}, True),
        ("next-exit", RUNNING, {**RUNNING, "observed": State.EXITED}, True),
        ("next-exit", RUNNING, {**RUNNING, "run": 2}, True),
        ("next-exit", {"run": 1, "observed": State.EXITED}, {"run": 1, "observed": State.EXITED}, False),
        ("next-exit", {"run": 1, "observed": State.EXITED}, {"run": 2, "observed": State.EXITED}, True),
        ("next-exit", {"run": 1, "observed": State.EXITED}, {**RUNNING, "run": 2}, False),
        # A start that failed leaves the state as it was and counts as a run.
        ("next-exit", {}, {"run": 1}, True),
        ("removed", RUNNING, {"observed": State.EXITED}, False),
        ("removed", RUNNING, {"removed_at": 1}, True),
    ],
)
def test_what_counts_as_reached(
    condition: str, now: dict[str, Any], later: dict[str, Any], expected: bool
) -> None:
    assert reached(Condition(condition), Container(**now))(Container(**later)) is expected


async def test_a_wrong_condition_is_named(edge: Edge, crowd: People, container: Container) -> None:
    for query, field in (({"condition": "gone"}, "condition"), ({"timeout": "-1"}, "timeout")):
        async with edge.get(f"{crowd.path}/containers/web/wait", crowd.owner, **query) as answer:
            body = await answer.json(content_type="application/problem+json")
            assert (answer.status, body["errors"][0]["field"]) == (400, field)


async def test_who_may_not_see_it_does_not_wait(edge: Edge, crowd: People, container: Container) -> None:
    for token, status in ((None, 401), (crowd.expired, 401), (crowd.stranger, 404), (crowd.elsewhere, 404)):
        async with edge.get(f"{crowd.path}/containers/web/wait", token) as answer:
            assert answer.status == status


async def test_three_hundred_waits_and_follows_hold_no_thread_and_keep_nobody_waiting(
    edge: Edge, crowd: People, agent: FakeAgent, container: Container
) -> None:
    await agent.log(container.id).write("one")
    before = threading.active_count()
    waits = [asyncio.create_task(wait(edge, crowd, 90)) for _ in range(150)]
    path = f"{crowd.path}/containers/web/logs"
    follows = [await edge.get(path, crowd.owner, follow="true") for _ in range(150)]
    for answer in follows:
        assert await answer.content.readline() == b"one\n"
    assert agent.followers == 150
    assert threading.active_count() - before <= LANES
    for _ in range(50):
        # Behind a held lane it would never come.
        async with asyncio.timeout(30), edge.get("/healthz") as answer:
            assert answer.status == 200
    await agent.log(container.id).end()
    await change(container, observed=State.EXITED, exit_code=0)
    assert all(body["reached"] for body in await asyncio.gather(*waits))
    for answer in follows:
        assert await answer.content.read() == b""
