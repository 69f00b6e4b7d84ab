"""Decisions about events, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.containers import facts
from slipway.containers.models import ALIVE, NEXT, Container, State
from workers.messages import (
    ContainerExited,
    ContainerFacts,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Failure,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ID = "ab" * 32


def row(**fields: Any) -> Container:
    return Container(id=ID, **fields)


def started(generation: int = 1, run: int = 1) -> ContainerStarted:
    return ContainerStarted(ID, generation, run, pid=7, address="10.87.0.2", started_at=NOW.timestamp())


def exited(generation: int = 1, run: int = 1, code: int | None = 3) -> ContainerExited:
    return ContainerExited(ID, generation, run, code, oom_killed=False, finished_at=NOW.timestamp())


def failed(generation: int = 1, run: int = 1) -> ContainerFailed:
    return ContainerFailed(ID, generation, run, Failure("COMMAND_NOT_FOUND", "no such command"), 127)


def applied(container: Container, *events: facts.ContainerEvent) -> Container:
    for event in events:
        for name, value in (facts.after(container, event, NOW) or {}).items():
            setattr(container, name, value)
    return container


def test_a_run_from_start_to_exit() -> None:
    container = applied(row(desired_generation=1, resend_at=NOW), started())
    assert (container.observed, container.run, container.address) == (State.RUNNING, 1, "10.87.0.2")
    assert (container.pending, container.resend_at, container.started_at) == (False, None, NOW)
    applied(container, exited())
    assert (container.observed, container.exit_code, container.finished_at) == (State.EXITED, 3, NOW)
    assert container.address is None


def test_the_next_run_forgets_the_outcome_of_the_last() -> None:
    container = applied(row(), started(), exited(), started(2, 2))
    assert (container.observed, container.exit_code, container.finished_at) == (State.RUNNING, None, None)


def test_nothing_changes_when_an_event_comes_twice() -> None:
    container = applied(row(), started())
    assert facts.after(container, started(), NOW) is None
    applied(container, exited())
    for again in (started(), exited()):
        assert facts.after(container, again, NOW) is None


def test_an_older_generation_never_overwrites() -> None:
    container = applied(row(), started(5, 3))
    for old in (started(4, 2), exited(4, 2), exited(4, 3), failed(4, 3)):
        assert facts.after(container, old, NOW) is None


def test_an_answer_to_an_older_wish_leaves_the_newer_one_pending() -> None:
    container = applied(row(desired_generation=2, resend_at=NOW), started())
    assert container.pending
    assert container.resend_at == NOW


def test_a_stop_that_found_nothing_to_stop_answers_the_wish() -> None:
    container = applied(row(desired_generation=2), started(), exited())
    applied(container, exited(2, 1, code=None))
    assert (container.pending, container.exit_code) == (False, 3)


def test_a_stop_before_the_first_start_leaves_created() -> None:
    container = applied(row(desired_generation=2), exited(2, 0, None), started(1, 1))
    assert (container.observed, container.pending) == (State.CREATED, False)


def test_a_start_that_fails_leaves_the_state_before_it_with_code_and_cause() -> None:
    container = applied(row(), failed())
    assert (container.observed, container.exit_code, container.run) == (State.CREATED, 127, 1)
    assert container.cause == {"code": "COMMAND_NOT_FOUND", "message": "no such command", "facts": {}}
    assert facts.after(container, failed(), NOW) is None
    container = applied(row(), started(), exited(), failed(2, 2))
    assert (container.observed, container.exit_code) == (State.EXITED, 127)


def test_removal_keeps_the_outcome_and_ends_all_change() -> None:
    container = applied(
        row(desired=State.REMOVING, desired_generation=2), started(), exited(), ContainerRemoved(ID, 2)
    )
    assert (container.removed_at, container.exit_code, container.observed) == (NOW, 3, State.EXITED)
    for late in (started(9, 9), exited(9, 9), failed(9, 9), ContainerRemoved(ID, 9)):
        assert facts.after(container, late, NOW) is None


def test_removal_of_a_running_container_ends_it_with_an_unknown_code() -> None:
    container = applied(row(desired=State.REMOVING), started(), ContainerRemoved(ID, 2))
    assert (container.observed, container.exit_code, container.finished_at) == (State.EXITED, None, NOW)


def test_a_removal_nobody_asked_for_is_not_believed() -> None:
    container = applied(row(desired=State.RUNNING), started())
    assert facts.after(container, ContainerRemoved(ID, 99), NOW) is None


def test_what_the_node_lost_has_exited_for_a_named_reason() -> None:
    container = applied(row(), started())
    columns = facts.after_inventory(container, None, NOW)
    assert columns is not None
    assert (columns["observed"], columns["exit_code"]) == (State.EXITED, None)
    assert columns["cause"]["code"] == "NODE_LOST_CONTAINER"


def test_an_inventory_tells_an_exit_that_was_missed() -> None:
    container = applied(row(), started())
    columns = facts.after_inventory(container, ContainerFacts(ID, 1, 1, "exited", 9), NOW)
    assert columns is not None
    assert (columns["observed"], columns["exit_code"]) == (State.EXITED, 9)


def test_an_exit_whose_code_nobody_knows_has_a_cause() -> None:
    container = applied(row(), started())
    columns = facts.after_inventory(container, ContainerFacts(ID, 1, 1, "exited", None), NOW)
    assert columns is not None
    assert (columns["exit_code"], columns["cause"]["code"]) == (None, "EXIT_UNKNOWN")


def test_an_inventory_that_agrees_changes_nothing() -> None:
    container = applied(row(), started())
    assert facts.after_inventory(container, ContainerFacts(ID, 1, 1, "running"), NOW) is None
    applied(container, exited())
    assert facts.after_inventory(container, None, NOW) is None
    assert facts.after_inventory(row(), None, NOW) is None


_numbers = st.integers(0, 4)
_events = st.one_of(
    st.builds(started, _numbers, _numbers),
    st.builds(exited, _numbers, _numbers),
    st.builds(failed, _numbers, _numbers),
    st.builds(ContainerRemoved, st.just(ID), _numbers),
)


@given(st.lists(_events, max_size=12))
def test_any_order_of_events_moves_forward_by_the_table(events: list[facts.ContainerEvent]) -> None:
    container = row()
    for event in events:
        before = (container.observed_generation, container.run, State(container.observed))
        applied(container, event)
        generation, run, state = container.observed_generation, container.run, State(container.observed)
        assert generation >= before[0]
        assert run >= before[1]
        # A later run passes through running even if its start was told by nobody.
        via_running = run > before[1] and (state == State.EXITED or before[2] in ALIVE)
        assert state == before[2] or state in NEXT[before[2]] or via_running
        assert facts.after(container, event, NOW) is None
