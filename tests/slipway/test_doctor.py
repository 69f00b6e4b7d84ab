"""What the doctor says of the platform, from nothing at all to a set that works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from slipway import doctor, health
from slipway.nodes.models import Node
from workers.checks import Check


@pytest.fixture(autouse=True)
def fresh_redis() -> Iterator[None]:
    health.redis.cache_clear()
    yield
    health.redis().close()
    health.redis.cache_clear()


@pytest.fixture
def with_redis(broker: redis.Redis, redis_socket: Path, settings: Settings) -> redis.Redis:
    settings.SLIPWAY_REDIS_URL = f"unix://{redis_socket}"
    return broker


def line(name: str) -> Check:
    return {check.name: check for check in doctor.platform_checks()}[name]


@pytest.mark.django_db
def test_a_database_that_answers_is_shown_with_its_version() -> None:
    found = line("database")
    assert found.status == "ok"
    assert "answered in" in found.why
    assert line("migrations") == Check("migrations", "ok", "all applied")


def test_without_redis_and_agent_both_are_missing_with_their_fix() -> None:
    for check in (doctor._redis(), doctor._agent()):
        assert check.status == "missing"
        assert "make up" in check.fix


def test_a_redis_that_keeps_nothing_is_degraded(with_redis: redis.Redis) -> None:
    assert doctor._redis().status == "degraded"
    with_redis.config_set("appendonly", "yes")
    assert doctor._redis().status == "ok"
    with_redis.config_set("maxmemory-policy", "allkeys-lru")
    assert "throw commands away" in doctor._redis().why
    with_redis.config_set("maxmemory-policy", "noeviction")
    with_redis.config_set("appendonly", "no")


def test_a_password_in_the_url_is_not_shown(settings: Settings) -> None:
    settings.SLIPWAY_REDIS_URL = "redis://:hunter2@localhost:1/0"
    assert "hunter2" not in doctor._redis().why


@pytest.mark.django_db
def test_the_nodes_heartbeat_decides_whether_it_is_there() -> None:
    assert doctor._heartbeat().status == "missing"
    node = Node.objects.create(name="local")
    assert "never heard of" in doctor._heartbeat().why
    node.heartbeat_at = timezone.now()
    node.save()
    assert doctor._heartbeat().status == "ok"
    node.heartbeat_at = timezone.now() - timedelta(minutes=5)
    node.save()
    assert doctor._heartbeat().status == "missing"


@pytest.mark.django_db
def test_an_observer_far_behind_its_node_is_seen(with_redis: redis.Redis) -> None:
    Node.objects.create(name="local", applied_seq=10)
    assert doctor._events().why == "10 applied, 0 to go"
    with_redis.xadd("slipway:events:local", {"seq": 12})
    assert doctor._events() == Check("events", "ok", "10 applied, 2 to go")
    with_redis.xadd("slipway:events:local", {"seq": 5000})
    assert doctor._events().status == "degraded"


def test_static_files_are_counted(tmp_path: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = tmp_path
    assert doctor._static_files().status == "missing"
    (tmp_path / "staticfiles.json").write_text('{"paths": {"a.css": "a.1.css"}}')
    assert doctor._static_files().why.startswith("1 in ")


@pytest.mark.django_db
def test_the_command_ends_with_1_when_something_is_missing() -> None:
    output = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json", stdout=output)
    assert ended.value.code == 1
    found = json.loads(output.getvalue())
    assert {check["name"] for check in found["platform"]} >= {"database", "Redis", "agent", "static files"}
    assert found["node"]


@pytest.mark.django_db
def test_the_table_ends_with_a_verdict() -> None:
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=output)
    assert output.getvalue().endswith("Something is missing; the lines with ✗ say what to do.\n")
