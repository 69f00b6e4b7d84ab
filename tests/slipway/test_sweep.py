from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.utils import timezone

from slipway import sweep
from slipway.blobs.s3 import StoreFailed
from slipway.containers.models import Container, State
from slipway.jobs.models import Job, JobState
from slipway.nodes.models import Node
from slipway.schedule import SWEEP_SECONDS, Lane, Schedule, alone
from tests.factories import make_container, make_job
from tests.roads import RecordingRoad
from workers.messages import BakeImage, RemoveContainer, RunContainer, StopContainer

pytestmark = pytest.mark.django_db
NOW = timezone.now()
DUE = NOW - timedelta(seconds=1)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this test: those before it may have taken minutes, and a node's heartbeat counts for seconds."""
    monkeypatch.setitem(globals(), "NOW", timezone.now())
    monkeypatch.setitem(globals(), "DUE", NOW - timedelta(seconds=1))


def wished(state: State, **fields: object) -> Container:
    container = make_container(**fields)
    container.wish(state)
    container.resend_at = DUE
    container.save()
    return container


def test_what_was_not_answered_is_sent_again_later_and_later(road: RecordingRoad) -> None:
    container = wished(State.RUNNING)
    waits = []
    now = NOW
    for _ in range(8):
        assert sweep.resend_containers(now) == 1
        (command,) = road.take()
        assert isinstance(command, RunContainer)
        assert (command.generation, command.run) == (1, 1)
        container.refresh_from_db()
        assert container.resend_at is not None
        waits.append((container.resend_at - now).total_seconds())
        assert sweep.resend_containers(container.resend_at - timedelta(seconds=1)) == 0
        now = container.resend_at
        Node.objects.update(heartbeat_at=now)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(
    ("state", "kind"), [(State.EXITED, StopContainer), (State.REMOVING, RemoveContainer)]
)
def test_stops_and_removals_are_sent_again_too(road: RecordingRoad, state: State, kind: type) -> None:
    wished(state)
    sweep.resend_containers(NOW)
    assert [type(command) for command in road.take()] == [kind]


def test_a_stop_is_given_its_own_timeout(road: RecordingRoad) -> None:
    container = make_container(stop_timeout=60)
    container.wish(State.EXITED, now=NOW)
    assert container.resend_at == NOW + timedelta(seconds=65)


def test_what_was_answered_is_never_sent_again(road: RecordingRoad) -> None:
    wished(State.RUNNING)
    Container.objects.update(observed_generation=1)
    removed = wished(State.REMOVING)
    Container.objects.filter(pk=removed.pk).update(removed_at=NOW)
    assert sweep.resend_containers(NOW) == 0
    assert road.take() == []


def test_a_node_that_is_away_is_not_buried_in_commands(road: RecordingRoad) -> None:
    wished(State.RUNNING)
    make_job(resend_at=DUE)
    Node.objects.update(heartbeat_at=NOW - timedelta(minutes=5))
    assert sweep.resend_containers(NOW) == sweep.resend_jobs(NOW) == 0
    Node.objects.update(heartbeat_at=NOW)
    assert sweep.resend_containers(NOW) == sweep.resend_jobs(NOW) == 1


def test_a_broker_that_is_away_leaves_the_row_for_the_next_sweep(road: RecordingRoad) -> None:
    container = wished(State.RUNNING)
    road.is_down = True
    assert sweep.resend_containers(NOW) == 0
    container.refresh_from_db()
    assert container.resend_at is not None


def test_jobs_that_wait_are_sent_again(road: RecordingRoad) -> None:
    job = make_job(resend_at=DUE)
    make_job(resend_at=DUE, state=JobState.SUCCEEDED)
    make_job(resend_at=NOW + timedelta(seconds=5))
    assert sweep.resend_jobs(NOW) == 1
    assert road.take() == [BakeImage(job.hex, job.project.hex, "busybox", "busybox", "latest")]


def test_a_job_of_another_version_stops_nobody(road: RecordingRoad) -> None:
    strange, job = make_job(resend_at=DUE - timedelta(seconds=1)), make_job(resend_at=DUE)
    Job.objects.filter(pk=strange.pk).update(command='{"kind": "Future", "body": {}}')
    assert sweep.resend_jobs(NOW) == 1
    assert [command.job for command in road.take()] == [job.hex]


def test_one_process_at_a_time_keeps_the_schedule(road: RecordingRoad) -> None:
    wished(State.RUNNING)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with alone() as mine:
            assert mine
            held.set()
            done.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    Schedule(lambda: 0.0).run_due()
    assert road.take() == []
    done.set()
    other.join(10)
    Schedule(lambda: 0.0).run_due()
    assert len(road.take()) == 1


def test_each_task_has_its_own_interval(road: RecordingRoad) -> None:
    now = [0.0]
    schedule = Schedule(lambda: now[0])
    schedule.run_due()
    wished(State.RUNNING)
    schedule.run_due()
    assert road.take() == []
    now[0] += SWEEP_SECONDS
    schedule.run_due()
    assert len(road.take()) == 1


def test_a_task_that_fails_stops_neither_the_others_nor_the_process() -> None:
    now, done = [0.0], []

    def fail(_: datetime) -> int:
        raise StoreFailed("The bucket does not answer.")

    schedule = Schedule(lambda: now[0], [(5.0, fail), (5.0, lambda at: done.append(at) or 1)])
    schedule.run_due()
    now[0] += 5
    schedule.run_due()
    assert len(done) == 2


def test_a_database_that_is_away_is_for_the_observer_to_wait_for() -> None:
    def fail(_: datetime) -> int:
        raise OperationalError("server closed the connection")

    with pytest.raises(OperationalError):
        Schedule(lambda: 0.0, [(5.0, fail)]).run_due()


def test_slow_tasks_at_work_hold_up_no_quick_ones(road: RecordingRoad) -> None:
    wished(State.RUNNING)
    sent = []

    def look(_: datetime) -> int:
        Schedule(lambda: 0.0).run_due()
        sent.extend(road.take())
        return 0

    Schedule(lambda: 0.0, [(15.0, look)], Lane.SLOW).run_due()
    assert len(sent) == 1
    with alone(Lane.SLOW) as mine:
        assert mine


def test_expired_sessions_are_cleared() -> None:
    Session.objects.create(session_key="old", session_data="", expire_date=DUE)
    Session.objects.create(session_key="new", session_data="", expire_date=NOW + timedelta(days=1))
    assert sweep.clear_sessions(NOW) == 1
    assert Session.objects.get().session_key == "new"
