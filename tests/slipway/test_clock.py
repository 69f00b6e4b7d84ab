"""The clock of the machine is set, far back or far ahead: nothing waits for it, nothing is taken for dead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from slipway.containers.models import Container, State
from slipway.jobs.models import JobState
from slipway.nodes.models import Node
from slipway.schedule import Schedule
from tests.factories import make_container, make_job
from tests.roads import RecordingRoad
from workers.messages import RunContainer

pytestmark = pytest.mark.django_db
NOW = timezone.now()
DAY = timedelta(days=1)


class Clocks:
    """Time, and what the machine takes it for."""

    def __init__(self) -> None:
        self.seconds, self.error = 1000.0, timedelta()

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000.0) + self.error

    def beat(self) -> None:
        Node.objects.update(heartbeat_at=self.wall())


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(timezone, "now", clocks.wall)
    return clocks


@pytest.fixture
def wished(clocks: Clocks) -> Container:
    """Its command was sent, and is lost."""
    container = make_container()
    container.wish(State.RUNNING, now=clocks.wall())
    container.save()
    return container


@pytest.fixture
def sweeper(clocks: Clocks) -> Callable[[float], None]:
    schedule = Schedule(clocks.monotonic)

    def after(seconds: float) -> None:
        clocks.seconds += seconds
        clocks.beat()
        schedule.run_due()

    after(0)
    return after


@pytest.mark.parametrize("error", [-DAY, DAY, -365 * DAY], ids=["back", "ahead", "a year back"])
def test_a_lost_command_is_sent_again_as_if_the_clock_had_not_been_set(
    road: RecordingRoad,
    clocks: Clocks,
    wished: Container,
    sweeper: Callable[[float], None],
    error: timedelta,
) -> None:
    clocks.error = error
    sweeper(1)
    assert road.take() == []
    sweeper(6)
    sweeper(6)
    assert [type(command) for command in road.take()] == [RunContainer]


def test_a_job_is_neither_forgotten_nor_hurried(
    road: RecordingRoad, clocks: Clocks, sweeper: Callable[[float], None]
) -> None:
    job = make_job(resend_at=clocks.wall() + timedelta(seconds=60))
    clocks.error = -DAY
    sweeper(50)
    assert road.take() == []
    sweeper(11)
    assert len(road.take()) == 1
    job.refresh_from_db()
    assert abs(job.resend_at - clocks.wall()) < timedelta(minutes=1)


def test_small_corrections_are_not_followed(
    road: RecordingRoad, clocks: Clocks, wished: Container, sweeper: Callable[[float], None]
) -> None:
    before = wished.resend_at
    clocks.error = timedelta(seconds=2)
    sweeper(1)
    wished.refresh_from_db()
    assert wished.resend_at == before


def test_a_heartbeat_of_the_future_is_no_sign_of_life() -> None:
    node = Node(name="n", heartbeat_at=NOW + DAY)
    assert not node.is_live(NOW)
    node.heartbeat_at = NOW
    assert node.is_live(NOW)


def test_a_job_at_work_is_not_given_up_because_the_clock_was_set_ahead(
    road: RecordingRoad, clocks: Clocks, sweeper: Callable[[float], None]
) -> None:
    job = make_job(state=JobState.RUNNING, lease_until=clocks.wall() + timedelta(seconds=30))
    clocks.error = DAY
    sweeper(6)
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    assert timedelta() < job.lease_until - clocks.wall() < timedelta(seconds=30)
