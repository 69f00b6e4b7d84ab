from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

from slipway import hints
from slipway.hints import Hint


async def test_a_hint_wakes_whoever_waits_for_its_group() -> None:
    answers: list[int | None] = [None, None, 7]
    looked = asyncio.Event()

    async def look() -> int | None:
        looked.set()
        return answers.pop(0)

    waiting = asyncio.create_task(hints.wait_for(look, "container.x", patience=20, poll=20))
    await looked.wait()
    while not waiting.done():
        await hints.send([Hint("container:x", "state")])
        await asyncio.sleep(0)
    assert waiting.result() == 7


async def test_who_finds_it_at_once_waits_for_nothing() -> None:
    async def look() -> str:
        return "there"

    assert await hints.wait_for(look, "container.x", patience=None) == "there"


async def test_who_gets_no_hint_looks_now_and_then_and_gives_up_in_time() -> None:
    looked = 0

    async def look() -> None:
        nonlocal looked
        looked += 1

    assert await hints.wait_for(look, "container.x", patience=0.05, poll=0.01) is None
    assert looked >= 3


async def test_hints_of_other_groups_wake_nobody() -> None:
    async with hints.subscribe("container.x") as subscription:
        await hints.send([Hint("container:y", "state")])
        assert not await subscription.wait(0.02)
        await hints.send([Hint("container:x", "state")])
        assert await subscription.wait(5)


async def test_hints_cross_redis(settings: Any, redis_socket: Path, broker: redis.Redis) -> None:
    config = {"hosts": [f"unix://{redis_socket}"], "prefix": "test.hint"}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    async with hints.subscribe("container.x", "project.y") as subscription:
        for topic in ("container:x", "project:y"):
            await hints.send([Hint(topic, "state")])
            assert await subscription.wait(5)
    from channels.layers import get_channel_layer

    await get_channel_layer().flush()


async def test_without_a_broker_waiting_still_works(settings: Any, tmp_path: Path) -> None:
    config = {"hosts": [f"unix://{tmp_path}/absent.sock"]}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    answers = [None, "there"]

    async def look() -> str | None:
        return answers.pop(0)

    await hints.send([Hint("container:x", "state")])
    assert await hints.wait_for(look, "container.x", patience=20, poll=0.01) == "there"


@pytest.mark.django_db
def test_hints_leave_after_the_commit_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connection

    sent: list[Hint] = []

    async def send(each: Any) -> None:
        sent.extend(each)

    monkeypatch.setattr(hints, "send", send)
    hints.publish([Hint("project:p", "jobs"), Hint("project:p", "jobs")])
    assert sent == []
    for _, hook, _ in connection.run_on_commit:
        hook()
    assert sent == [Hint("project:p", "jobs")]
