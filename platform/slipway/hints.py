"""Hints: "look again". Tiny messages through the channel layer; the fact itself is in the row.

Groups are ``container.<id>`` and ``project.<id>``; a consumer receives
``{"type": "hint", "topic": "container:<id>" | "project:<id>", "hint": word}``. Words for a container:
``state``, ``removed``; for a project: ``containers``, ``jobs``, ``images``. A hint may be lost, so whoever
waits also looks from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Hint:
    topic: str
    word: str

    @property
    def group(self) -> str:
        return self.topic.replace(":", ".")

    @property
    def message(self) -> dict[str, str]:
        return {"type": "hint", "topic": self.topic, "hint": self.word}


def container_hints(container: str, project: str, word: str) -> tuple[Hint, Hint]:
    """For those who watch the container and those who watch its project."""
    return Hint(f"container:{container}", word), Hint(f"project:{project}", "containers")


def project_hint(project: str, word: str) -> Hint:
    return Hint(f"project:{project}", word)


def publish(hints: Iterable[Hint]) -> None:
    """Send the hints when the transaction commits; a broker that is away costs only a log line."""
    unique = tuple(dict.fromkeys(hints))
    if unique:
        transaction.on_commit(lambda: async_to_sync(send)(unique), robust=True)


def publish_container(container: str, project: str, word: str) -> None:
    publish(container_hints(container, project, word))


def publish_project(project: str, word: str) -> None:
    publish([project_hint(project, word)])


async def send(hints: Iterable[Hint]) -> None:
    """Send now; never raises."""
    layer = get_channel_layer()
    try:
        for hint in hints:
            await layer.group_send(hint.group, hint.message)
    except Exception as error:  # noqa: BLE001 - a hint must never fail what it tells of
        log.warning("hints_not_sent", error=repr(error))


class Subscription:
    """Hints of some groups as they come; at most one is remembered, for they all say "look again"."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()

    async def wait(self, patience: float) -> bool:
        """True when there was a hint since the last call, False after ``patience`` seconds without."""
        try:
            await asyncio.wait_for(self._arrived.wait(), patience)
        except TimeoutError:
            return False
        self._arrived.clear()
        return True

    def note(self) -> None:
        self._arrived.set()


@contextlib.asynccontextmanager
async def subscribe(*groups: str) -> AsyncIterator[Subscription]:
    """Hints of ``groups`` from here on. A broker that is away means no hints, not an error."""
    layer = get_channel_layer()
    subscription = Subscription()
    pump: asyncio.Task[None] | None = None
    channel = ""
    try:
        await _keep_warm(layer)
        channel = await layer.new_channel()
        for group in groups:
            await layer.group_add(group, channel)
        pump = asyncio.create_task(_pump(layer, channel, subscription))
    except Exception as error:  # noqa: BLE001 - waiting goes on by looking from time to time
        log.warning("hints_not_subscribed", error=repr(error))
    try:
        yield subscription
    finally:
        if pump is not None:
            await _leave(layer, channel, groups, pump)


async def _pump(layer: Any, channel: str, subscription: Subscription) -> None:
    while True:
        await layer.receive(channel)
        subscription.note()


async def _leave(layer: Any, channel: str, groups: Iterable[str], pump: asyncio.Task[None]) -> None:
    with contextlib.suppress(Exception):
        for group in groups:
            await layer.group_discard(group, channel)
    pump.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await pump


_warm: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def _keep_warm(layer: Any) -> None:
    """One channel per event loop that stays: the layer sleeps 100 ms at a time while it has none."""
    loop = asyncio.get_running_loop()
    if loop not in _warm:
        _warm.add(loop)
        await layer.new_channel()


async def wait_for(
    look: Callable[[], Awaitable[T | None]], *groups: str, patience: float | None, poll: float = POLL_SECONDS
) -> T | None:
    """The first answer of ``look`` that is not None; None after ``patience`` seconds
    (None: never).

    Subscribes first, then looks, then looks again at each hint and every ``poll`` seconds: nothing that
    happens in between is missed.
    """
    deadline = None if patience is None else asyncio.get_running_loop().time() + patience
    async with subscribe(*groups) as subscription:
        while True:
            answer = await look()
            if answer is not None:
                return answer
            left = poll if deadline is None else deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            await subscription.wait(min(poll, left))
