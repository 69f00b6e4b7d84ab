"""Fixtures of the platform's tests: a real database, a recorder in place of the broker."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.core.cache import cache
from django.db import connections
from django.test import override_settings

from slipway import dispatch
from tests import emptying
from tests.roads import RecordingRoad

emptying.install()

QUICK_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""A password's real hash takes a third of a second, by design (Django's default is left alone)."""


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_process() -> Iterator[None]:
    """Configured once: with every change of ``CACHES`` Django makes a context variable that never ends, and
    asgiref copies all there are at every step between a thread and an event loop."""
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}):
        yield


@pytest.fixture(autouse=True)
def road(settings: pytest.FixtureRequest) -> Iterator[RecordingRoad]:
    """Every command the test sends ends here; hints stay in this process."""
    settings.SLIPWAY_ROAD = "tests.roads.RecordingRoad"
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()  # failed sign-ins of the test before
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    dispatch.road_at.cache_clear()
    yield dispatch.road_at(settings.SLIPWAY_ROAD)
    dispatch.road_at.cache_clear()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A database of this process's own; of SQLite a file, since in memory it locks whole tables."""
    settings = connections["default"].settings_dict
    if settings["ENGINE"].endswith("sqlite3"):
        settings["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Redis of this session's own, on a unix socket, keeping nothing."""
    directory = tmp_path_factory.mktemp("redis")
    socket = directory / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(socket)
        yield socket
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture
def broker(redis_socket: Path) -> Iterator[redis.Redis]:
    """A client of that Redis, empty."""
    with redis.Redis(unix_socket_path=str(redis_socket)) as client:
        client.flushall()
        yield client


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.01)  # between two looks at a server that is starting
    raise TimeoutError(f"redis-server did not answer on {socket}")
