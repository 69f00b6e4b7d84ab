"""Waiting for a container: what counts as reached, and how it is noticed."""

from __future__ import annotations

from collections.abc import Callable

from django.db import models

from slipway.containers.models import Container, State
from slipway.hints import wait_for
from slipway.threads import look

POLL_SECONDS = 10.0
"""A hint may be lost; this is how late one notices at worst."""


class Condition(models.TextChoices):
    NOT_RUNNING = "not-running", "It has no process and none is on its way"
    NEXT_EXIT = "next-exit", "The run that goes on, or else the next one, has ended or failed to start"
    REMOVED = "removed", "It is removed"


Reached = Callable[[Container], bool]


def reached(condition: Condition, now: Container) -> Reached:
    """The test for ``condition``, asked for when the row was as in ``now``. Removal answers every wait."""
    if condition is Condition.REMOVED:
        return lambda row: row.removed_at is not None
    if condition is Condition.NOT_RUNNING:
        return lambda row: row.removed_at is not None or not (row.is_alive or _about_to_run(row))
    run = now.run if now.is_alive else now.run + 1
    return lambda row: row.removed_at is not None or row.run > run or (row.run == run and not row.is_alive)


def _about_to_run(row: Container) -> bool:
    return row.pending and row.desired == State.RUNNING


async def wait(container: Container, condition: Condition, seconds: float | None) -> tuple[Container, bool]:
    """The row when ``condition`` was reached or ``seconds`` had passed; and which of the two it was."""
    test = reached(condition, container)
    latest = container

    async def see() -> Container | None:
        nonlocal latest
        latest = await look(_load, container.id)
        return latest if test(latest) else None

    found = await wait_for(see, f"container.{container.id}", patience=seconds, poll=POLL_SECONDS)
    return latest, found is not None


def _load(container: str) -> Container:
    return Container.objects.select_related("project__team", "node", "image").get(pk=container)
