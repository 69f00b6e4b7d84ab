"""How often repositories are pulled from: counted in memory, written every few seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import structlog
from django.db.models import F
from django.utils import timezone

from slipway.registry.calls import Run
from slipway.repositories.models import Repository

log = structlog.get_logger(__name__)
EVERY = 5.0


class PullCounter:
    """Counts of the last seconds are lost with the process: they are for people to compare by."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._counts: Counter[UUID] = Counter()
        self._waiting: asyncio.Task[Any] | None = None

    def __call__(self, repository: UUID) -> None:
        self._counts[repository] += 1
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_task(self._write_soon())

    async def _write_soon(self) -> None:
        await asyncio.sleep(EVERY)
        counts, self._counts = self._counts, Counter()
        try:
            await self._run(lambda: write(counts))
        except Exception:
            log.exception("pulls_not_counted")


def write(counts: Counter[UUID]) -> None:
    now = timezone.now()
    for repository, count in counts.items():
        Repository.objects.filter(pk=repository).update(pull_count=F("pull_count") + count, last_pull_at=now)
