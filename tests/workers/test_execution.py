"""From an envelope to the engine: what is refused, what is put off, what becomes an event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workers import sealing
from workers.app import STOPS
from workers.content import DirectoryContent
from workers.contexts import Contexts
from workers.engine import containers, projects
from workers.engine.places import Places
from workers.errors import BadCommand, NoSpace, ProjectInUse, RuntimeFailed
from workers.messages import (
    Command,
    ContainerFailed,
    ContainerSpec,
    DropLogs,
    DropProject,
    Event,
    ProjectDropped,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
    StopContainer,
    encode,
)
from workers.tasks import execution
from workers.tasks.execution import Executor, Later
from workers.tasks.jobs import Jobs, Work
from workers.uploads import Uploads

SIGNING_KEY = Ed25519PrivateKey.generate()
ID = "c" * 64
RUN = RunContainer(
    container=ID,
    generation=3,
    run=2,
    project=ProjectSlice("d" * 32, 1_000_000, "10.99.0.0/24"),
    spec=ContainerSpec("sha256:" + "e" * 64, "d" * 32, "web", "web"),
)


@dataclass
class Node:
    """What the executor asks of a node; its engine is replaced by the test's functions."""

    places: Places
    events: list[Event]
    name: str = "local"
    engine: Any = None
    contexts: Any = None

    def emit(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    for name in ("jobs", "job-logs"):
        (tmp_path / "node" / name).mkdir(parents=True)
    places = Places(tmp_path, tmp_path / "run")
    uploads = Uploads(places.uploads, DirectoryContent(places.content))
    node: Any = Node(places, [], contexts=Contexts(places.contexts, uploads))
    jobs = Jobs(node.places, node.emit, Work(perform=lambda *given: None, tidy=lambda command: None))
    sealing.ensure_node_key(node.places.keys / "node")
    sealing.store_platform_key(node.places.keys / "platform", SIGNING_KEY.public_key())
    yield Executor(node, jobs)
    jobs.close(timeout=10)


def seal(executor: Executor, text: str) -> str:
    node_key = sealing.load_node_key(executor.node.places.keys / "node")
    return sealing.seal(text, node="local", node_public_key=node_key.public_key(), signing_key=SIGNING_KEY)


def test_a_sealed_command_reaches_the_engine(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Command] = []
    monkeypatch.setattr(containers, "run", lambda engine, command, emit: ran.append(command))
    executor.execute(seal(executor, encode(RUN)))
    assert ran == [RUN]


def test_commands_under_way_open_while_keys_are_rotated(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Command] = []
    monkeypatch.setattr(containers, "run", lambda engine, command, emit: ran.append(command))
    keys = executor.node.places.keys
    before = seal(executor, encode(RUN))
    sealing.rotate_node_key(keys / "node")
    between = seal(executor, encode(RUN))
    successor = Ed25519PrivateKey.generate()
    sealing.store_platform_key(keys / "platform", successor.public_key(), overlap=60.0)
    node_key = sealing.load_node_key(keys / "node").public_key()
    after = sealing.seal(encode(RUN), node="local", node_public_key=node_key, signing_key=successor)
    for envelope in (before, between, after):
        executor.execute(envelope)
    assert ran == [RUN] * 3
    sealing.store_platform_key(keys / "platform", Ed25519PrivateKey.generate().public_key())
    with pytest.raises(BadCommand, match="not the platform's"):
        executor.execute(after)


def test_unreadable_keys_put_a_command_off_and_lose_nothing(executor: Executor) -> None:
    envelope = seal(executor, encode(RUN))
    (executor.node.places.keys / "node").unlink()
    with pytest.raises(Later):
        executor.execute(envelope)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"kind":"Reboot","body":{}}', '{"kind":"DropLogs","body":{"x":1}}']
)
def test_a_sealed_text_that_is_no_command_is_refused(executor: Executor, text: str) -> None:
    with pytest.raises(BadCommand):
        executor.execute(seal(executor, text))


def test_an_unexpected_error_of_a_start_becomes_an_event_with_an_id(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(containers, "run", fail)
    executor.perform(RUN)
    (event,) = executor.node.events  # type: ignore[attr-defined]  # the test's node
    assert isinstance(event, ContainerFailed)
    assert (event.container, event.generation, event.run) == (ID, 3, 2)
    assert event.cause.code == "INTERNAL"
    assert "error_id" in event.cause.facts


def test_a_start_whose_outcome_cannot_be_journaled_is_put_off(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NoSpace("no space for the journal")

    monkeypatch.setattr(containers, "run", fail)
    monkeypatch.setattr(executor.node, "emit", fail)
    with pytest.raises(Later):
        executor.perform(RUN)


@pytest.mark.parametrize("error", [RuntimeFailed("it survives"), OSError(5, "io"), ValueError()])
def test_a_stop_or_removal_that_fails_is_put_off(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    for name, command in (
        ("stop", StopContainer(ID, 4)),
        ("remove", RemoveContainer(ID, 5)),
        ("drop_logs", DropLogs(ID)),
    ):
        monkeypatch.setattr(containers, name, fail)
        with pytest.raises(Later):
            executor.perform(command)


def test_a_dropped_project_is_answered_and_its_containers_do_not_come_back(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "drop", lambda engine, project: None)
    executor.node.contexts.propose(RUN.project.id, b"")
    executor.perform(DropProject(RUN.project))
    assert list(executor.node.places.contexts.iterdir()) == []
    assert executor.node.events == [ProjectDropped(RUN.project.id)]  # type: ignore[attr-defined]
    monkeypatch.setattr(projects, "is_dropped", lambda places, project: project == RUN.project.id)
    with pytest.raises(BadCommand, match="was deleted"):
        executor.perform(RUN)


def test_a_project_that_is_in_use_is_dropped_later(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ProjectInUse("a container is still there")

    monkeypatch.setattr(projects, "drop", fail)
    with pytest.raises(Later):
        executor.perform(DropProject(RUN.project))
    assert executor.node.events == []  # type: ignore[attr-defined]


def test_an_id_that_would_leave_its_directory_is_refused(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(engine: object, command: RunContainer, emit: object) -> None:
        executor.node.places.record(command.container)

    monkeypatch.setattr(containers, "run", look)
    with pytest.raises(BadCommand):
        executor.perform(RunContainer("../../etc", 1, 1, RUN.project, RUN.spec))


def test_stops_that_wait_leave_threads_for_starts(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, waiting = threading.Event(), threading.Barrier(STOPS + 1)

    def wait(*_: object) -> None:
        waiting.wait(10)
        go.wait(10)

    monkeypatch.setattr(containers, "stop", wait)
    stops = [
        threading.Thread(target=executor.perform, args=(StopContainer(ID, number),))
        for number in range(STOPS)
    ]
    for stop in stops:
        stop.start()
    waiting.wait(10)
    with pytest.raises(Later) as put_off:
        executor.perform(StopContainer(ID, 9))
    assert put_off.value.seconds == execution.STOP_AGAIN
    go.set()
    for stop in stops:
        stop.join()
    monkeypatch.setattr(containers, "stop", lambda *_: None)
    executor.perform(StopContainer(ID, 10))
