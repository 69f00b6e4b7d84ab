"""The client of the agent's HTTP against a server that answers as docs/architecture.md says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from slipway.nodes import agent
from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.models import Node
from workers.errors import NodeError, NoSpace, NoSuchContainer, NotRunning

ID = "ab" * 32
NODE = Node(name="local")
LOG = f"/v1/containers/{ID}/logs"


class FakeAgent:
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.wrote = 0
        self.closed = asyncio.Event()

    async def logs(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(dict(request.query))
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        await answer.write(
            b'{"p": 0, "n": 9, "t": "2026-11-20T00:00:00Z", "s": "stdout", "l": "one", "f": true}\n\n'
        )
        if request.query["follow"] == "1":
            await self._flood(answer)
        return answer

    async def _flood(self, answer: web.StreamResponse) -> None:
        line = b'{"p": 9, "n": 18, "t": "", "s": "stdout", "l": "' + b"x" * 60_000 + b'", "f": true}\n'
        try:
            while True:
                await answer.write(line)
                self.wrote += len(line)
        except ConnectionError:
            self.closed.set()

    async def kill(self, request: web.Request) -> web.Response:
        self.seen.append(await request.json())
        if request.match_info["id"] != ID:
            body = {"code": "CONTAINER_UNKNOWN", "message": "no such container", "facts": {"container": "x"}}
            return web.json_response(body, status=404)
        return web.Response(status=204)

    async def usage(self, request: web.Request) -> web.Response:
        return web.json_response({"cpu_ns": 5, "memory_bytes": 6, "memory_limit": 7, "pids": 8})

    async def upload(self, request: web.Request) -> web.Response:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        if size == 13:
            body = {"code": "NO_SPACE", "message": "the disk is full", "facts": {}}
            return web.json_response(body, status=507)
        return web.json_response({"digest": "sha256:" + "0" * 64, "size": size}, status=201)

    async def broken(self, request: web.Request) -> web.Response:
        return web.Response(status=500, text="oops")


@pytest.fixture
async def fake(settings: Any, tmp_path: Path) -> AsyncIterator[FakeAgent]:
    settings.SLIPWAY_AGENT_SOCKET = tmp_path / "agent.sock"
    served = FakeAgent()
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/containers/{id}/logs", served.logs),
            web.post("/v1/containers/{id}/kill", served.kill),
            web.get("/v1/containers/{id}/usage", served.usage),
            web.put("/v1/uploads", served.upload),
            web.get("/v1/health", served.broken),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(settings.SLIPWAY_AGENT_SOCKET)).start()
    yield served
    await agent.close()
    await runner.cleanup()


async def test_a_log_is_read_as_entries(fake: FakeAgent) -> None:
    (entry,) = [entry async for entry in agent.log_entries(NODE, LOG, position=0)]
    assert entry == agent.LogEntry(0, 9, "2026-11-20T00:00:00Z", "stdout", "one", True)
    assert fake.seen == [{"follow": "0", "position": "0"}]


async def test_the_agents_signs_of_life_are_passed_on_as_empty_lines(fake: FakeAgent) -> None:
    lines = [line async for line in agent.log_lines(NODE, LOG, tail=10)]
    assert lines[1:] == [b"\n"]
    assert fake.seen == [{"follow": "0", "tail": "10"}]


async def test_a_reader_that_pauses_holds_the_agent_back_and_leaving_frees_it(fake: FakeAgent) -> None:
    stream = agent.log_entries(NODE, LOG, follow=True)
    assert (await anext(stream)).text == "one"
    assert len((await anext(stream)).text) == 60_000
    before = -1
    while fake.wrote != before:  # the buffers in between fill up, then it stands still
        before = fake.wrote
        await asyncio.sleep(0.05)
    assert fake.wrote < 16 << 20
    await stream.aclose()
    await asyncio.wait_for(fake.closed.wait(), 10)


async def test_an_upload_streams_and_is_answered_with_its_digest(fake: FakeAgent) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100_000

    assert await agent.upload(NODE, chunks()) == agent.Upload("sha256:" + "0" * 64, 1_000_000)


async def test_usage_is_numbers(fake: FakeAgent) -> None:
    assert await agent.usage(NODE, ID) == agent.Usage(5, 6, 7, 8)


async def test_errors_have_the_type_their_code_names(fake: FakeAgent) -> None:
    await agent.kill(NODE, ID, "SIGTERM")
    assert fake.seen == [{"signal": "SIGTERM"}]
    with pytest.raises(NoSuchContainer) as caught:
        await agent.kill(NODE, "cd" * 32, "SIGTERM")
    assert (caught.value.message, caught.value.facts) == ("no such container", {"container": "x"})

    async def chunks() -> AsyncIterator[bytes]:
        yield b"thirteen byte"

    with pytest.raises(NoSpace):
        await agent.upload(NODE, chunks())
    with pytest.raises(NodeError, match="500"):
        await agent.health(NODE)


async def test_an_agent_that_is_away_is_said(settings: Any, tmp_path: Path) -> None:
    settings.SLIPWAY_AGENT_SOCKET = tmp_path / "absent.sock"
    with pytest.raises(NodeUnreachable, match="'local'"):
        await agent.health(NODE)
    await agent.close()


def test_a_kill_from_synchronous_code_leaves_no_connection_behind(settings: Any, tmp_path: Path) -> None:
    settings.SLIPWAY_AGENT_SOCKET = tmp_path / "absent.sock"
    with pytest.raises(NodeUnreachable):
        agent.kill_now(NODE, ID, "SIGTERM")


def test_every_error_a_node_can_name_is_known() -> None:
    known = agent.errors_by_code()
    assert known["CONTAINER_NOT_RUNNING"] is NotRunning
    assert known["NO_SPACE"] is NoSpace
