"""Fixtures of the REST tests: people with tokens, a client, a fake agent, and the whole ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client
from django.utils import timezone

from slipway.accounts import services
from slipway.accounts.models import Role, Token
from slipway.nodes import agent as agent_client
from slipway.projects.models import Project
from tests import fake_agent
from tests.factories import make_actor, make_project, make_user


@dataclass(frozen=True)
class People:
    """A project and the tokens of those who come to it."""

    project: Project
    owner: str
    viewer: str
    """A member who may only look."""
    stranger: str
    """Owner of another team."""
    readonly: str
    """The owner's, with the scope read."""
    expired: str
    revoked: str
    elsewhere: str
    """The owner's, bound to another project of the same team."""
    administrator: str

    @property
    def path(self) -> str:
        return f"/api/v1/projects/{self.project.path}"


def make_people() -> People:
    project = make_project()
    owner = make_actor(project.team)
    other = make_project(project.team)

    def token(actor: Any, *scopes: str, **more: Any) -> str:
        return services.issue_token(actor, "test", scopes=scopes or ("admin",), **more)[1]

    expired = token(owner)
    Token.objects.filter(prefix=expired.split("_")[1]).update(expires_at=timezone.now() - timedelta(hours=1))
    revoked = token(owner)
    Token.objects.filter(prefix=revoked.split("_")[1]).update(revoked_at=timezone.now())
    return People(
        project=project,
        owner=token(owner),
        viewer=token(make_actor(project.team, Role.VIEWER)),
        stranger=token(make_actor(make_project().team)),
        readonly=token(owner, "read"),
        expired=expired,
        revoked=revoked,
        elsewhere=token(owner, project=other),
        administrator=token(services.Actor(user=make_user(is_staff=True))),
    )


@pytest.fixture(autouse=True)
def plain_static_names(settings: Any) -> None:
    """Nobody has collected static files for the tests."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def people(db: None) -> People:
    return make_people()


class Rest:
    """Django's test client, speaking JSON and carrying a token."""

    def __init__(self, token: str | None = None) -> None:
        self.client = Client(headers={"authorization": f"Bearer {token}"} if token else None)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query or None)

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(path, {} if body is None else body, content_type="application/json")

    def delete(self, path: str) -> Any:
        return self.client.delete(path)


@pytest.fixture
def rest() -> Callable[[str | None], Rest]:
    return Rest


@pytest.fixture
async def agent(tmp_path: Path, settings: Any) -> AsyncIterator[fake_agent.FakeAgent]:
    settings.SLIPWAY_AGENT_SOCKET = tmp_path / "agent.sock"
    async with fake_agent.running(settings.SLIPWAY_AGENT_SOCKET) as running:
        yield running
    await agent_client.close()


class Edge:
    """The ASGI application behind a real server, as a client on the loopback sees it."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.session = session

    def request(self, method: str, path: str, token: str | None = None, **more: Any) -> Any:
        headers = {**more.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.session.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, **more)

    def get(self, path: str, token: str | None = None, **query: Any) -> Any:
        return self.request("GET", path, token, params=query)


@pytest.fixture
async def crowd(transactional_db: None) -> People:
    """``people`` for tests with a real server, whose threads have connections of their own."""
    return await sync_to_async(make_people)()


@pytest.fixture
async def edge(transactional_db: None, agent: fake_agent.FakeAgent) -> AsyncIterator[Edge]:
    from slipway.asgi import application, handler

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(application, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # the tests' signals are not its
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Edge(listener.getsockname()[1], session)
        server.should_exit = True
        await task
    await handler.lanes.disconnect()
    # The test's own asynchronous queries ran in asgiref's thread.
    await sync_to_async(connections.close_all)()
