"""Jobs of a node: each is done once its command was taken, whoever dies, and ends with one outcome."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import DEADLINE, eventually
from tests.workers.jobnodes import JobNode
from workers.engine import logs
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter, is_open
from workers.errors import InvalidArchive
from workers.messages import (
    BakeImage,
    Event,
    Failure,
    ImportImage,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
)
from workers.tasks import jobs as module
from workers.tasks.jobfiles import JobCommand, JobFiles
from workers.tasks.reporting import PROGRESS_EVERY, Reporter

UPLOAD = "sha256:" + "0" * 64


def import_image(job: str) -> ImportImage:
    return ImportImage(job=job, scope="scope", upload=UPLOAD)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[JobNode]:
    yield from JobNode.living(tmp_path)


def test_a_job_starts_succeeds_and_tidies_up(node: JobNode) -> None:
    node.start().submit(import_image("j"))
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobSucceeded("j")]
    assert node.tidied == ["j"]


def test_a_job_that_fails_says_why_and_tidies_up(node: JobNode) -> None:
    def fail(command: JobCommand, emit: Emit) -> None:
        raise InvalidArchive("no tar", offset=7)

    node.perform = fail
    node.start().submit(import_image("j"))
    eventually(lambda: node.ended("j"))
    assert node.events[-1] == JobFailed("j", Failure("ARCHIVE_INVALID", "no tar", {"offset": 7}))
    assert node.tidied == ["j"]


def test_an_unexpected_error_becomes_a_failure_with_an_id(node: JobNode) -> None:
    def fail(command: JobCommand, emit: Emit) -> None:
        raise ZeroDivisionError

    node.perform = fail
    node.start().submit(import_image("j"))
    eventually(lambda: node.ended("j"))
    outcome = node.events[-1]
    assert isinstance(outcome, JobFailed)
    assert outcome.cause.code == "INTERNAL"
    assert str(outcome.cause.facts["error_id"]) in outcome.cause.message


def test_what_a_job_writes_is_read_while_it_runs_and_after(node: JobNode) -> None:
    go = threading.Event()

    def wait(command: JobCommand, emit: Emit) -> None:
        node.log.write("first\nsecond")
        go.wait(DEADLINE)
        raise InvalidArchive("no tar")

    node.perform = wait
    node.start().submit(import_image("j"))
    eventually(lambda: node.written("j") == ["first", "second"])
    assert is_open(node.places.job_log("j"))
    go.set()
    eventually(lambda: node.ended("j"))
    assert node.written("j") == ["first", "second", "Failed: no tar"]
    assert not is_open(node.places.job_log("j"))


def test_a_job_begun_again_goes_on_with_its_log_and_says_so(node: JobNode) -> None:
    JobFiles(node.places).store("j", import_image("j"), None)
    LogWriter(node.places.job_log("j")).write("half of i")  # its worker was killed here
    node.start()
    eventually(lambda: node.ended("j"))
    assert node.written("j") == [
        "half of i",
        "The node's worker was started anew; the job begins again.",
        "Done.",
    ]


def test_logs_of_old_jobs_go(node: JobNode) -> None:
    for name in ("old", "new"):
        LogWriter(node.places.job_log(name)).close()
    os.utime(node.places.job_log("old"), (0, time.time() - module.LOG_KEPT - 60))
    node.start()
    assert not node.places.job_log("old").exists()
    assert node.places.job_log("new").exists()


def test_a_command_delivered_again_while_the_job_runs_changes_nothing(node: JobNode) -> None:
    go, calls = threading.Event(), []

    def wait(command: JobCommand, emit: Emit) -> None:
        calls.append(command.job)
        go.wait(10)

    node.perform = wait
    jobs = node.start()
    jobs.submit(import_image("j"))
    eventually(lambda: calls)
    jobs.submit(import_image("j"))
    go.set()
    eventually(lambda: node.ended("j"))
    assert calls == ["j"]
    assert node.events == [JobStarted("j"), JobSucceeded("j")]


def test_a_command_delivered_again_after_the_end_repeats_the_outcome_only(node: JobNode) -> None:
    jobs = node.start()
    jobs.submit(import_image("j"))
    eventually(lambda: node.ended("j"))
    jobs.submit(import_image("j"))
    assert node.events == [JobStarted("j"), JobSucceeded("j"), JobSucceeded("j")]
    node.start().submit(import_image("j"))
    assert node.events[3:] == [JobSucceeded("j")]


def test_more_jobs_than_slots_wait_in_order(node: JobNode) -> None:
    running, most, order = 0, 0, []
    lock = threading.Lock()

    def count(command: JobCommand, emit: Emit) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            order.append(command.job)
        time.sleep(0.002)
        with lock:
            running -= 1

    node.perform = count
    jobs = node.start()
    names = [f"j{number}" for number in range(10)]
    for name in names:
        jobs.submit(import_image(name))
    eventually(lambda: all(node.ended(name) for name in names))
    assert most <= 2
    assert sorted(order) == names
    assert order[0] in names[:2]


def test_a_worker_that_dies_leaves_its_jobs_to_the_next_one(node: JobNode) -> None:
    # What a killed worker leaves: commands on disk, nobody at work.
    for name in ("first", "second"):
        JobFiles(node.places).store(name, import_image(name), None)
        os.utime(node.places.job(name), ns=(0, 1_000 if name == "first" else 2_000))
    node.places.job("first").with_name(".half.123").write_text("half")
    node.slots = 1
    node.start()
    eventually(lambda: node.ended("first") and node.ended("second"))
    assert [event for event in node.events if isinstance(event, JobStarted)] == [
        JobStarted("first"),
        JobStarted("second"),
    ]
    assert not node.places.job("first").with_name(".half.123").exists()


def test_a_worker_that_dies_before_tidying_up_does_the_tidying_and_not_the_job(node: JobNode) -> None:
    node.tidy_fails = True
    node.start().submit(import_image("j"))
    assert node.failed_tidying.wait(DEADLINE)
    node.tidy_fails = False
    node.start()
    assert node.ended("j")
    assert node.tidied == ["j"]
    assert node.events == [JobStarted("j"), JobSucceeded("j")]


def test_an_outcome_waits_for_space_in_the_journal(node: JobNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)

    def fill_the_disk(command: JobCommand, emit: Emit) -> None:
        node.journal_is_full = True

    node.perform = fill_the_disk
    node.start().submit(import_image("j"))
    eventually(lambda: node.journal_is_full)
    assert not node.ended("j")
    node.journal_is_full = False
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobSucceeded("j")]


def test_outcomes_are_forgotten_after_a_week_and_waiting_jobs_never(node: JobNode) -> None:
    jobs = node.start()
    jobs.submit(import_image("old"))
    eventually(lambda: node.ended("old"))
    waiting = node.places.job("waiting")
    JobFiles(node.places).store("waiting", import_image("waiting"), None)
    for path in (node.places.job("old"), waiting):
        os.utime(path, (0, time.time() - module.KEPT - 1))
    jobs.submit(BakeImage("new", "scope", "busybox", "busybox", "latest"))
    eventually(lambda: not node.places.job("old").exists())
    assert waiting.exists()


def test_progress_is_thinned_out_and_logged_once_for_each_detail(tmp_path: Path) -> None:
    events: list[Event] = []
    now = 0.0
    written = LogWriter(tmp_path / "log")
    report = Reporter("j", events.append, lambda: None, written, clock=lambda: now)
    for step in range(100):
        now = step * 0.1
        report("unpacking", step, 100)
    assert len(events) == pytest.approx(10 / PROGRESS_EVERY, abs=1)
    assert events[0] == JobProgressed("j", "unpacking", 0, 100)
    written.close()
    assert [entry.text for entry in logs.read(tmp_path / "log", 0).entries] == ["unpacking"]


# --------------------------------------------------------------------------- cancelling


def busy(node: JobNode) -> threading.Event:
    """Jobs of ``node`` work until they are cancelled, or the event is set."""
    go = threading.Event()

    def work(command: JobCommand, emit: Emit) -> None:
        while not go.wait(0.005):
            node.check()

    node.perform = work
    return go


def test_a_running_job_ends_where_it_next_asks(node: JobNode) -> None:
    busy(node)
    jobs = node.start()
    jobs.submit(import_image("j"))
    eventually(lambda: JobStarted("j") in node.events)
    jobs.cancel("j")
    jobs.cancel("j")
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobCancelled("j")]
    assert node.tidied == ["j"]


def test_a_waiting_job_ends_at_once_and_never_begins(node: JobNode) -> None:
    go = busy(node)
    node.slots = 1
    jobs = node.start()
    jobs.submit(import_image("first"))
    eventually(lambda: JobStarted("first") in node.events)
    jobs.submit(import_image("second"))
    jobs.cancel("second")
    assert JobCancelled("second") in node.events
    assert node.tidied == ["second"]
    go.set()
    eventually(lambda: node.ended("first"))
    jobs.submit(import_image("third"))
    eventually(lambda: node.ended("third"))
    assert JobStarted("second") not in node.events


def test_a_job_cancelled_before_it_came_never_begins(node: JobNode) -> None:
    jobs = node.start()
    jobs.cancel("j")
    jobs.submit(import_image("j"))
    assert node.events == [JobCancelled("j"), JobCancelled("j")]
    node.start().submit(import_image("j"))
    assert set(node.events) == {JobCancelled("j")}


def test_a_job_that_has_ended_says_how_when_it_is_cancelled(node: JobNode) -> None:
    jobs = node.start()
    jobs.submit(import_image("j"))
    eventually(lambda: node.ended("j"))
    jobs.cancel("j")
    assert node.events == [JobStarted("j"), JobSucceeded("j"), JobSucceeded("j")]


def test_a_failure_after_the_wish_to_cancel_is_told_as_what_it_is(node: JobNode) -> None:
    started = threading.Event()

    def fail(command: JobCommand, emit: Emit) -> None:
        started.set()
        eventually(lambda: bool(node.lives[0]._cancelled))
        raise InvalidArchive("no tar")

    node.perform = fail
    jobs = node.start()
    jobs.submit(import_image("j"))
    assert started.wait(10)
    jobs.cancel("j")
    eventually(lambda: node.ended("j"))
    assert isinstance(node.events[-1], JobFailed)


def test_a_running_job_is_heard_of_again_and_again(node: JobNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    go = threading.Event()

    def work(command: JobCommand, emit: Emit) -> None:
        emit(JobProgressed("j", "Unpacking", 1, 2))
        go.wait(10)

    node.perform = work
    node.start().submit(import_image("j"))
    eventually(lambda: node.events.count(JobProgressed("j", "Unpacking", 1, 2)) >= 3)
    go.set()
    eventually(lambda: node.ended("j"))


def test_a_report_is_where_a_job_can_end(tmp_path: Path) -> None:
    events: list[Event] = []

    def cancelled() -> None:
        raise module.Cancelled("j")

    with LogWriter(tmp_path / "log") as written, pytest.raises(module.Cancelled):
        Reporter("j", events.append, cancelled, written)("Unpacking", 1, 2)
    assert events == []
