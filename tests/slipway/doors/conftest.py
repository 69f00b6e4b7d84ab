"""Fixtures of the walk through the doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from slipway import threads
from slipway.nodes import agent
from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.models import Node
from tests.slipway.doors.world import World, make_world


@pytest.fixture(autouse=True)
def plain_static_names(settings: Any) -> None:
    """Nobody has collected static files for the tests."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Made once, in a transaction around those of the module's tests: hundreds of them need one."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture
def world(made: World, db: None) -> World:
    Node.objects.update(heartbeat_at=timezone.now())
    return replace(made, users={role: copy(user) for role, user in made.users.items()})


@pytest.fixture(autouse=True)
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asynchronous views look through the test's own connection, which must stay open."""
    monkeypatch.setattr(threads, "close_old_connections", lambda: None)


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node answers nothing; and no connection to it is left open by a view's event loop."""

    @asynccontextmanager
    async def unreachable(*args: Any, **kwargs: Any) -> AsyncIterator[None]:
        raise NodeUnreachable("The agent of node 'local' does not answer; is it running?", node="local")
        yield

    monkeypatch.setattr(agent, "_request", unreachable)
