"""Lanes: those who write at once share a commit, and each hears of its own end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest
from django.db import OperationalError, transaction

from slipway.accounts.models import Team
from slipway.threads import Lanes


def make(slug: str, *, fails: bool = False) -> str:
    with transaction.atomic():
        Team.objects.create(slug=slug, name=slug)
        if fails:
            raise ValueError(slug)
    return slug


async def write(lanes: Lanes, count: int) -> list[Any]:
    """All wait while something else holds the writer."""
    held: Future[None] = Future()
    holding = asyncio.ensure_future(lanes.run(held.result, writes=True))
    await asyncio.sleep(0)  # it is in the lane now
    writing = [
        asyncio.ensure_future(
            lanes.run(lambda n=n: make(f"team-{n}", fails=n == 1), writes=True, together=True)  # type: ignore[misc]
        )
        for n in range(count)
    ]
    await asyncio.sleep(0)  # all of them wait now
    held.set_result(None)
    await holding
    return await asyncio.gather(*writing, return_exceptions=True)


@pytest.mark.django_db(transaction=True)
def test_one_failure_among_those_who_share_a_commit_is_its_own() -> None:
    async def all_of_it() -> list[Any]:
        lanes = Lanes()
        try:
            return await write(lanes, 4)
        finally:
            await lanes.disconnect()

    outcomes = asyncio.run(all_of_it())
    assert [type(each) if isinstance(each, Exception) else each for each in outcomes] == [
        "team-0", ValueError, "team-2", "team-3",
    ]  # fmt: skip
    assert sorted(Team.objects.values_list("slug", flat=True)) == ["team-0", "team-2", "team-3"]


def test_a_commit_that_fails_is_told_to_all_who_shared_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full() -> Iterator[None]:
        yield
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("slipway.threads.transaction.atomic", full)
    lanes, told = Lanes(), [Future[Any](), Future[Any]()]
    lanes._together = [(lambda: 1, copy_context(), each) for each in told]
    lanes._write_together()
    assert [type(each.exception()) for each in told] == [OperationalError] * 2
