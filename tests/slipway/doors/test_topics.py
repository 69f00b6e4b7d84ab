"""Every topic of the socket, asked for by everybody, through the whole application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connections

from slipway.asgi import application
from slipway.console.routing import websocket_urlpatterns
from slipway.console.socket import TOPICS, Socket
from tests.slipway.doors.table import FILE, ROLES, Door, read_doors
from tests.slipway.doors.world import NOBODY, World, make_world

DOORS = [door for door in read_doors() if door.name.startswith("ws:")]
KEYS = {
    "project": "project_id",
    "container": "container_id",
    "log": "container_id",
    "job-log": "job_id",
    "build-log": "build_id",
}
"""Topic to the argument in world.py that it takes."""
PATIENCE = 5.0


@pytest.fixture
async def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async def silence(*args: Any, **options: Any) -> AsyncIterator[Any]:
        for entry in ():
            yield entry

    monkeypatch.setattr(Socket, "source", staticmethod(silence))
    yield await sync_to_async(make_world)()
    # The socket asks the database in asgiref's thread, whose connection nobody else would close.
    await sync_to_async(connections.close_all)()


class Tab(ApplicationCommunicator):
    """A browser's tab; ``role`` brings its session, or its token where it has no session."""

    def __init__(self, world: World, role: str) -> None:
        headers = [(b"host", b"localhost:8000"), (b"origin", b"http://localhost:8000")]
        client = world.caller(role, by_token=False)
        if cookie := client.cookies.get(settings.SESSION_COOKIE_NAME):
            headers.append((b"cookie", f"{cookie.key}={cookie.value}".encode()))
        if token := world.tokens.get(role):
            headers.append((b"authorization", f"Bearer {token}".encode()))
        scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": headers}
        super().__init__(application, scope)

    async def ask(self, method: str, topic: str) -> str:
        """``ok``, the error's code, or the code the socket was closed with."""
        await self.send_input({"type": "websocket.connect"})
        first = await self.receive_output(PATIENCE)
        assert first["type"] == "websocket.accept", first
        if not await self.receive_nothing():
            return str((await self.receive_output(PATIENCE))["code"])
        for frame in ({"op": method, "topic": topic}, {"op": "none", "topic": "end"}):
            await self.send_input({"type": "websocket.receive", "text": json.dumps(frame)})
        try:
            return await self._answer(topic)
        finally:
            await self.send_input({"type": "websocket.disconnect", "code": 1001})
            await self.wait(PATIENCE)

    async def _answer(self, topic: str) -> str:
        """Frames are obeyed in order: what comes before the refusal of the last is about the first."""
        while True:
            frame = json.loads((await self.receive_output(PATIENCE))["text"])
            if frame["topic"] != topic:
                return "ok"
            if "error" in frame:
                return str(frame["error"]["code"])


def test_there_is_one_socket_and_every_topic_has_a_line_in_the_table() -> None:
    assert [str(route.pattern) for route in websocket_urlpatterns] == ["ws"]
    assert {door.name for door in DOORS} == {f"ws:{kind}" for kind in TOPICS}, f"{FILE.name}: ws:<topic>"
    assert KEYS.keys() == TOPICS.keys()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_everybody_hears_what_the_table_says(world: World, door: Door, role: str) -> None:
    kind = door.name.removeprefix("ws:")
    tab = await sync_to_async(Tab)(world, role)
    assert await tab.ask(door.method, f"{kind}:{world.known[KEYS[kind]]}") == door.answers[role]


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_a_topic_of_others_is_refused_as_one_of_nobody(world: World, door: Door) -> None:
    kind = door.name.removeprefix("ws:")
    told = []
    for given in (world.known, NOBODY):
        tab = await sync_to_async(Tab)(world, "stranger")
        told.append(await tab.ask(door.method, f"{kind}:{given[KEYS[kind]]}"))
    assert told == ["NOT_FOUND", "NOT_FOUND"]
