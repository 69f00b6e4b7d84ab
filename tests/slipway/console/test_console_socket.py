"""The tab's socket: rights per topic, hints, logs in batches, back-pressure, and going away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore

from slipway.accounts.models import Membership
from slipway.console import socket as module
from slipway.console.socket import Socket
from slipway.containers.models import Container
from slipway.hints import container_hints, send
from slipway.nodes import consumers
from slipway.nodes.agent import LogEntry
from slipway.nodes.errors import NodeUnreachable
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 5.0


class FakeSource:
    """A node's logs. ``written`` grows; a follow ends when ``ended`` is set."""

    def __init__(self) -> None:
        self.written: list[LogEntry] = []
        self.grown = asyncio.Event()
        self.ended = asyncio.Event()
        self.asked: list[tuple[int | None, int | None]] = []
        self.open = 0
        self.taken = 0
        self.failure: Exception | None = None

    def write(self, *texts: str) -> None:
        for text in texts:
            at = self.written[-1].next if self.written else 0
            entry = LogEntry(at, at + len(text) + 40, "2026-11-20T10:00:00Z", "stdout", text, whole=True)
            self.written.append(entry)
        self.grown.set()

    def end(self) -> None:
        self.ended.set()
        self.grown.set()

    async def __call__(
        self, node: Any, container: str, *, position: int | None, tail: int | None, follow: bool
    ) -> AsyncIterator[LogEntry]:
        self.asked.append((position, tail))
        self.open += 1
        try:
            if self.failure is not None:
                raise self.failure
            index = max(0, len(self.written) - tail) if tail is not None else 0
            while True:
                while index < len(self.written):
                    entry = self.written[index]
                    index += 1
                    if position is None or entry.position >= position:
                        self.taken += 1
                        yield entry
                if self.ended.is_set():
                    return
                self.grown.clear()
                await self.grown.wait()
        finally:
            self.open -= 1


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    fake = FakeSource()
    monkeypatch.setattr(Socket, "source", fake)
    return fake


@pytest.fixture
def world() -> tuple[Container, Any, Any]:
    """A container, a member of its team, a stranger."""
    team = factories.make_team()
    container = factories.make_container(factories.make_project(team), observed="exited", exit_code=0, run=1)
    stranger = factories.make_actor(factories.make_team())
    return container, factories.make_actor(team).user, stranger.user


class Tab(ApplicationCommunicator):
    """A browser's tab with its socket open."""

    def __init__(self, user: Any, session: Any) -> None:
        self.session = session
        headers = [(b"host", b"localhost:8000"), (b"origin", b"http://localhost:8000")]
        scope = {"type": "websocket", "path": "/ws", "headers": headers, "user": user, "session": session}
        super().__init__(Socket.as_asgi(), scope)

    async def connect(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output(PATIENCE))["type"] == "websocket.accept"

    async def send_text(self, text: str) -> None:
        await self.send_input({"type": "websocket.receive", "text": text})

    async def send_json(self, frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def disconnect(self) -> None:
        if not self.future.done():
            await self.send_input({"type": "websocket.disconnect", "code": 1001})
            await self.wait(PATIENCE)


Open = Callable[..., Any]


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    opened: list[Tab] = []

    async def connect_as(user: Any) -> Tab:
        session = SessionStore()
        await sync_to_async(session.create)()
        tab = Tab(user, session)
        await tab.connect()
        opened.append(tab)
        return tab

    yield connect_as
    for tab in opened:
        await tab.disconnect()


async def heard(tab: Tab) -> Any:
    message = await tab.receive_output(PATIENCE)
    assert message["type"] == "websocket.send"
    return json.loads(message["text"])


async def eventually(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - what is waited for happens in other tasks
            await asyncio.sleep(0.005)


async def test_the_page_of_another_port_on_this_host_gets_no_socket(world: Any) -> None:
    _, member, _ = world
    tab = Tab(member, SessionStore())
    tab.scope["headers"] = [(b"host", b"localhost:8000"), (b"origin", b"http://localhost:3000")]
    await tab.send_input({"type": "websocket.connect"})
    assert (await tab.receive_output(PATIENCE))["type"] == "websocket.close"
    await tab.disconnect()


async def test_nobody_is_told_anything_without_signing_in(connect: Open) -> None:
    tab = await connect(AnonymousUser())

    closing = await tab.receive_output(PATIENCE)

    assert closing == {"type": "websocket.close", "code": module.UNAUTHENTICATED}


@pytest.mark.parametrize("op", ["subscribe", "follow"])
async def test_unknown_and_forbidden_look_the_same(
    connect: Open, world: Any, source: FakeSource, op: str
) -> None:
    container, _, stranger = world
    tab = await connect(stranger)
    answers = []
    for key in (container.id, "0" * 64):
        topic = f"{'log' if op == 'follow' else 'container'}:{key}"
        await tab.send_json({"op": op, "topic": topic})
        answer = await heard(tab)
        assert answer["topic"] == topic
        answers.append(json.dumps(answer).replace(key, "…"))

    assert answers[0] == answers[1]
    assert "NOT_FOUND" in answers[0]
    assert source.asked == []


async def test_a_hint_reaches_who_subscribed_and_nobody_else(connect: Open, world: Any) -> None:
    container, member, stranger = world
    project = await sync_to_async(lambda: container.project.hex)()
    tab, other = await connect(member), await connect(stranger)
    await tab.send_json({"op": "subscribe", "topic": f"container:{container.id}"})
    await other.send_json({"op": "subscribe", "topic": f"container:{container.id}"})
    assert "error" in await heard(other)
    assert await heard(tab) == {"topic": f"container:{container.id}", "hint": "subscribed"}

    await send(container_hints(container.id, project, "state"))

    assert await heard(tab) == {"topic": f"container:{container.id}", "hint": "state"}
    assert await other.receive_nothing()
    await tab.send_json({"op": "unsubscribe", "topic": f"container:{container.id}"})
    await settled(tab)
    await send(container_hints(container.id, project, "state"))
    assert await tab.receive_nothing()


async def settled(tab: Tab) -> None:
    """All frames sent so far were obeyed: they are obeyed in order, and this one is answered."""
    await tab.send_json({"op": "settle", "topic": "nothing"})
    assert (await heard(tab))["error"]["code"] == "FRAME_INVALID"


async def test_a_log_comes_in_order_and_says_when_it_ended(
    connect: Open, world: Any, source: FakeSource
) -> None:
    container, member, _ = world
    source.write("one", "two")
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}", "position": 0})
    first = await heard(tab)
    source.write("three")
    source.end()
    rest = await until_end(tab)

    assert [row[3] for row in first["entries"] + rest] == ["one", "two", "three"]
    assert first["entries"][0] == [0, "2026-11-20T10:00:00Z", "stdout", "one", True]
    assert first["next"] == first["entries"][-1][0] + len("two") + 40
    assert source.open == 0


async def until_end(tab: Tab) -> list[Any]:
    rows: list[Any] = []
    while True:
        frame = await heard(tab)
        rows += frame["entries"]
        await tab.send_json({"op": "ack", "topic": frame["topic"], "next": frame["next"]})
        if frame["end"]:
            return rows


@pytest.mark.parametrize(("frame", "asked"), [({"position": 43}, (43, None)), ({"tail": 7}, (None, 7))])
async def test_a_follow_begins_where_it_is_told(
    connect: Open, world: Any, source: FakeSource, frame: dict[str, int], asked: Any
) -> None:
    container, member, _ = world
    source.end()
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}", **frame})
    await until_end(tab)

    assert source.asked[0] == asked


async def test_a_slow_browser_makes_the_server_wait(connect: Open, world: Any, source: FakeSource) -> None:
    container, member, _ = world
    line = "x" * 1000
    source.write(*[line] * 2000)
    source.end()
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
    frames = [await heard(tab) for _ in range(consumers.AHEAD_BATCHES)]

    assert await tab.receive_nothing()
    assert source.taken < 2000
    assert max(len(json.dumps(frame)) for frame in frames) < 2 * consumers.BATCH_BYTES

    await tab.send_json({"op": "ack", "topic": frames[0]["topic"], "next": frames[-1]["next"]})
    rows = await until_end(tab)
    assert sum(len(frame["entries"]) for frame in frames) + len(rows) == 2000


async def test_whoever_leaves_stops_the_reading(connect: Open, world: Any, source: FakeSource) -> None:
    container, member, _ = world
    source.write("one")
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
    await heard(tab)
    assert source.open == 1
    await tab.send_json({"op": "unfollow", "topic": f"log:{container.id}"})
    await eventually(lambda: source.open == 0)

    await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
    await heard(tab)
    await tab.disconnect()
    await eventually(lambda: source.open == 0)


async def test_following_again_replaces_the_follow_before(
    connect: Open, world: Any, source: FakeSource
) -> None:
    container, member, _ = world
    source.write("one")
    tab = await connect(member)
    for _ in range(3):
        await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
        await heard(tab)

    assert source.open == 1


async def test_a_node_that_does_not_answer_is_asked_again(
    connect: Open, world: Any, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.nodes.log_reading.PAUSES", (0.001,))
    monkeypatch.setattr("slipway.nodes.log_reading.PATIENCE", 2)
    container, member, _ = world
    source.failure = NodeUnreachable("The agent of node 'local' does not answer.")
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
    answer = await heard(tab)

    assert answer["error"]["code"] == "NODE_UNREACHABLE"
    assert answer["retry"] is True
    assert len(source.asked) == 3


async def test_who_is_taken_from_the_team_hears_no_more(
    connect: Open, world: Any, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.05)
    container, member, _ = world
    source.write("one")
    tab = await connect(member)
    await tab.send_json({"op": "follow", "topic": f"log:{container.id}"})
    await heard(tab)
    await Membership.objects.filter(user=member).adelete()

    assert (await heard(tab))["error"]["code"] == "NOT_FOUND"
    assert source.open == 0


async def test_signing_out_elsewhere_closes_the_socket(
    connect: Open, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.05)
    tab = await connect(world[1])
    await sync_to_async(tab.session.delete)()

    assert await tab.receive_output(PATIENCE) == {
        "type": "websocket.close",
        "code": module.UNAUTHENTICATED,
    }


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"op": "dance", "topic": "log:1"}',
        '{"op": "subscribe", "topic": "planet:1"}',
        '{"op": "follow", "topic": "container:1"}',
        '{"op": "follow", "topic": "log:1", "position": -1}',
        '{"op": "follow", "topic": "log:1", "tail": "many"}',
    ],
)
async def test_a_frame_that_is_none_of_ours_is_refused_and_nothing_breaks(
    connect: Open, world: Any, text: str
) -> None:
    tab = await connect(world[1])
    await tab.send_text(text)
    answer = await heard(tab)

    assert answer["error"]["code"] == "FRAME_INVALID"
    await settled(tab)


async def test_topics_have_a_limit(connect: Open, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOPICS_MAX", 1)
    container, member, _ = world
    project = await sync_to_async(lambda: container.project.hex)()
    tab = await connect(member)
    await tab.send_json({"op": "subscribe", "topic": f"container:{container.id}"})
    await tab.send_json({"op": "subscribe", "topic": f"project:{project}"})

    assert (await heard(tab))["hint"] == "subscribed"
    refused = await heard(tab)
    assert refused["topic"] == f"project:{project}"
    assert refused["error"]["code"] == "FRAME_INVALID"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"op": "subscribe", "topic": "project:{%s}"}',
        '{"op": "subscribe", "topic": "project:\\u0000"}',
    ],
)
async def test_a_strange_frame_is_refused_and_the_socket_stays(connect: Open, world: Any, text: str) -> None:
    container, member, _ = world
    tab = await connect(member)
    await tab.send_text(text.replace("%s", str(container.project_id)))
    assert (await heard(tab))["error"]["code"] in ("FRAME_INVALID", "NOT_FOUND")
    await tab.send_json({"op": "nothing", "topic": "project:x"})
    assert (await heard(tab))["error"]["code"] == "FRAME_INVALID"
