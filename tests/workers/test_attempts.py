"""Of a job's attempts the highest is done: no other's result is told, and never two are under way at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import eventually
from tests.workers.jobnodes import JobNode
from workers.engine.host import Emit
from workers.errors import InvalidArchive
from workers.messages import (
    BuildFinished,
    BuildImage,
    JobCancelled,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    ProjectSlice,
)
from workers.tasks.jobfiles import JobCommand, JobFiles
from workers.tasks.jobs import Superseded


def attempt(number: int, job: str = "j") -> BuildImage:
    return BuildImage(job, job, number, ProjectSlice("p", 1 << 20, "10.87.3.0/24"), "p")


def finished(number: int) -> BuildFinished:
    return BuildFinished("j", "j", number)


class Builds:
    """What builds of a node do: each attempt waits until it is let go, or to be ended at its next check."""

    def __init__(self, node: JobNode) -> None:
        self.node = node
        self.begun: list[int] = []
        self.ends: list[type[BaseException]] = []
        self.most = self.now = 0
        self.go = threading.Event()
        self.deaf = False
        node.perform = self

    def __call__(self, command: JobCommand, emit: Emit) -> None:
        assert isinstance(command, BuildImage)
        check = self.node.check
        self.begun.append(command.attempt)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            while not self.go.wait(0.002):
                if not self.deaf:
                    check()
            emit(finished(command.attempt))
        except BaseException as error:
            self.ends.append(type(error))
            raise
        finally:
            self.now -= 1


@pytest.fixture
def node(tmp_path: Path) -> Iterator[JobNode]:
    yield from JobNode.living(tmp_path)


@pytest.fixture
def builds(node: JobNode) -> Builds:
    return Builds(node)


def test_a_higher_attempt_takes_the_place_of_one_that_runs(node: JobNode, builds: Builds) -> None:
    jobs = node.start()
    jobs.submit(attempt(1))
    eventually(lambda: builds.begun == [1])
    jobs.submit(attempt(2))
    eventually(lambda: builds.begun == [1, 2])
    builds.go.set()
    eventually(lambda: node.ended("j"))
    assert builds.ends == [Superseded]
    assert builds.most == 1
    assert node.events == [JobStarted("j"), JobStarted("j"), finished(2), JobSucceeded("j")]
    assert node.tidied == ["j"]
    assert any("attempt 2" in line for line in node.written("j"))


def test_the_result_of_an_attempt_that_was_superseded_is_not_told(node: JobNode, builds: Builds) -> None:
    builds.deaf = True
    jobs = node.start()
    jobs.submit(attempt(1))
    eventually(lambda: builds.begun == [1])
    jobs.submit(attempt(2))
    builds.go.set()  # it comes to its end without having asked
    eventually(lambda: node.ended("j"))
    assert builds.begun == [1, 2]
    assert [event for event in node.events if isinstance(event, BuildFinished)] == [finished(2)]
    assert node.events[-1] == JobSucceeded("j")


def test_the_failure_of_an_attempt_that_was_superseded_is_not_told(node: JobNode) -> None:
    begun: list[int] = []
    go = threading.Event()

    def perform(command: JobCommand, emit: Emit) -> None:
        assert isinstance(command, BuildImage)
        begun.append(command.attempt)
        if command.attempt == 1:
            go.wait(10)
            raise InvalidArchive("no tar")

    node.perform = perform
    jobs = node.start()
    jobs.submit(attempt(1))
    eventually(lambda: begun)
    jobs.submit(attempt(2))
    go.set()
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobStarted("j"), JobSucceeded("j")]


def test_attempts_that_are_not_higher_change_nothing(node: JobNode, builds: Builds) -> None:
    jobs = node.start()
    jobs.submit(attempt(2))
    eventually(lambda: builds.begun == [2])
    jobs.submit(attempt(1))
    jobs.submit(attempt(2))
    builds.go.set()
    eventually(lambda: node.ended("j"))
    assert builds.begun == [2]
    assert node.events == [JobStarted("j"), finished(2), JobSucceeded("j")]


def test_of_attempts_that_wait_the_highest_is_begun(node: JobNode, builds: Builds) -> None:
    jobs = node.start()
    for name in ("a", "b"):  # both slots of builds are taken
        jobs.submit(attempt(1, name))
    eventually(lambda: len(builds.begun) == 2)
    jobs.submit(attempt(1))
    jobs.submit(attempt(3))
    jobs.submit(attempt(2))
    builds.go.set()
    eventually(lambda: all(node.ended(job) for job in ("a", "b", "j")))
    assert builds.begun == [1, 1, 3]


def test_a_worker_that_dies_leaves_the_highest_attempt_to_the_next_one(node: JobNode, builds: Builds) -> None:
    builds.deaf = True
    dies = node.start()
    dies.submit(attempt(1))
    eventually(lambda: builds.begun == [1])
    dies.submit(attempt(2))
    assert JobFiles(node.places).load("j") == (attempt(2), None)
    builds.go.set()
    eventually(lambda: node.ended("j"))


def test_a_result_that_stands_is_not_taken_back(node: JobNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a build's end is told, a higher attempt comes too late: there is one result."""
    told, go = threading.Event(), threading.Event()

    def perform(command: JobCommand, emit: Emit) -> None:
        emit(finished(1))
        told.set()
        go.wait(10)

    node.perform = perform
    jobs = node.start()
    jobs.submit(attempt(1))
    assert told.wait(10)
    jobs.submit(attempt(2))
    go.set()
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), finished(1), JobSucceeded("j")]


def test_cancelling_reaches_whichever_attempt_is_there(node: JobNode, builds: Builds) -> None:
    builds.deaf = True
    jobs = node.start()
    jobs.submit(attempt(1))
    eventually(lambda: builds.begun == [1])
    jobs.submit(attempt(2))
    jobs.cancel("j")
    builds.deaf = False
    eventually(lambda: node.ended("j"))
    jobs.submit(attempt(3))
    assert builds.begun == [1]
    assert [event for event in node.events if not isinstance(event, JobStarted)] == [JobCancelled("j")] * 2


def test_a_superseded_attempt_says_nothing_more(node: JobNode) -> None:
    begun, go = threading.Event(), threading.Event()

    def perform(command: JobCommand, emit: Emit) -> None:
        assert isinstance(command, BuildImage)
        if command.attempt == 1:
            begun.set()
            go.wait(10)
            emit(JobProgressed("j", "of the first"))
            pytest.fail("it went on")

    node.perform = perform
    jobs = node.start()
    jobs.submit(attempt(1))
    assert begun.wait(10)
    jobs.submit(attempt(2))
    go.set()
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobStarted("j"), JobSucceeded("j")]
