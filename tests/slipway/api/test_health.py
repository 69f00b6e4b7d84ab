"""Alive, ready, measured: and to whom it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from django.db import connections
from django.test import Client

from slipway import health
from tests.factories import make_container, make_job, make_node
from tests.slipway.api.conftest import People


@pytest.fixture
def redis(redis_socket: Path, broker: redis_client.Redis, settings: Any) -> Iterator[redis_client.Redis]:
    settings.SLIPWAY_REDIS_URL = f"unix://{redis_socket}"
    health.redis.cache_clear()
    yield broker
    health.redis().close()
    health.redis.cache_clear()


@pytest.fixture
def without_redis(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.SLIPWAY_REDIS_URL = f"unix://{tmp_path}/nothing.sock"
    health.redis.cache_clear()
    yield
    health.redis.cache_clear()


def test_alive_needs_no_database() -> None:
    answer = Client().get("/healthz")  # pytest-django refuses every query of this test
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


def test_ready_when_all_is_there(db: None, redis: redis_client.Redis) -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": {}})


def test_not_ready_says_what_is_missing(db: None, without_redis: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert list(answer.json()["missing"]) == ["redis"]
    assert "SLIPWAY_REDIS_URL" in answer.json()["missing"]["redis"]


def test_not_ready_before_the_migrations(db: None, redis: redis_client.Redis) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'containers'")
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert "containers.0001_initial" in answer.json()["missing"]["migrations"]
    assert "manage.py migrate" in answer.json()["missing"]["migrations"]


def figures(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_metrics_measure_containers_jobs_nodes_and_queues(
    people: People, redis: redis_client.Redis, settings: Any
) -> None:
    node = make_node("local")
    type(node).objects.update(applied_seq=40)
    make_container(people.project, observed="running")
    make_container(people.project, observed="exited")
    make_container(people.project, observed="exited")
    make_job(people.project)
    redis.xadd("slipway:events:local", {"seq": 42, "at": 0, "event": "{}"})
    redis.lpush(f"{settings.SLIPWAY_INSTANCE}:node.local", "a", "b", "c")
    Client().get("/api/v1/nothing")
    answer = Client().get("/metrics")
    assert answer["Content-Type"].startswith("text/plain")
    found = figures(answer.content.decode())
    assert found['slipway_containers{state="running"}'] == 1
    assert found['slipway_containers{state="exited"}'] == 2
    assert found['slipway_containers{state="paused"}'] == 0
    assert found['slipway_jobs{state="queued"}'] == 1
    assert found['slipway_node_events_unapplied{node="local"}'] == 2
    assert found['slipway_node_queue_length{node="local"}'] == 3
    assert 0 <= found['slipway_node_heartbeat_age_seconds{node="local"}'] < 60
    unmatched = 'slipway_request_seconds_count{method="GET",route="unmatched",status="404"}'
    assert found[unmatched] >= 1


def test_metrics_go_on_without_redis(people: People, without_redis: None) -> None:
    found = figures(Client().get("/metrics").content.decode())
    assert 'slipway_containers{state="running"}' in found
    assert not any(name.startswith("slipway_node_queue") for name in found)


def test_metrics_are_for_this_machine_and_for_administrators(
    people: People, redis: redis_client.Redis
) -> None:
    def ask(token: str | None = None, origin: str = "192.0.2.7", **headers: str) -> int:
        if token:
            headers["authorization"] = f"Bearer {token}"
        return Client(REMOTE_ADDR=origin, headers=headers).get("/metrics").status_code

    assert ask() == 401
    assert ask(people.owner) == 403
    assert ask(people.expired) == 401
    assert ask(people.administrator) == 200
    assert ask(origin="127.0.0.1") == 200
    assert ask(origin="::1") == 200
    # A proxy on this machine asks for somebody else.
    forwarded = {"x-forwarded-for": "192.0.2.7"}
    assert Client(REMOTE_ADDR="127.0.0.1", headers=forwarded).get("/metrics").status_code == 401
