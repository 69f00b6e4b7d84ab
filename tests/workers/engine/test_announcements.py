"""The event of each state of a record."""

from __future__ import annotations

from dataclasses import replace

from workers.engine import announcements
from workers.engine.records import Outcome, Phase, Record
from workers.engine.runtime.process import Process
from workers.messages import (
    ContainerExited,
    ContainerFacts,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Failure,
)

RECORD = Record("c" * 64, Phase.RUNNING, 4, 2, address="10.0.0.2", init=Process(7, 1), started_at=5.0)
CAUSE = Failure("COMMAND_NOT_FOUND", "no")


def test_a_running_container_has_started() -> None:
    assert announcements.event(RECORD) == ContainerStarted("c" * 64, 4, 2, 7, "10.0.0.2", 5.0)


def test_an_exited_one_says_how() -> None:
    record = replace(RECORD, phase=Phase.EXITED, outcome=Outcome(137, True, 6.0))
    assert announcements.event(record) == ContainerExited("c" * 64, 4, 2, 137, True, 6.0)


def test_a_failed_start_says_why() -> None:
    record = replace(RECORD, phase=Phase.CREATED, outcome=Outcome(127, False, 6.0, CAUSE))
    assert announcements.event(record) == ContainerFailed("c" * 64, 4, 2, CAUSE, 127)


def test_one_that_was_never_tried_has_failed_for_that_reason() -> None:
    event = announcements.event(Record("c" * 64, Phase.CREATED, 1))
    assert isinstance(event, ContainerFailed)
    assert event.cause.code == "CONTAINER_NEVER_RAN"


def test_a_tombstone_is_removed() -> None:
    assert announcements.event(replace(RECORD, phase=Phase.REMOVED)) == ContainerRemoved("c" * 64, 4)


def test_a_start_under_way_counts_as_created() -> None:
    assert announcements.facts(replace(RECORD, phase=Phase.STARTING)) == ContainerFacts(
        "c" * 64, 4, 2, "created"
    )
