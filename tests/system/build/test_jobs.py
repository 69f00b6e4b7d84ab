"""Builds as jobs of a node: what they journal, which attempt wins, what is dropped."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.system.build.rigs import BuildRig, context, steps_told
from tests.system.build.slow import Serve, body_by_the_byte, headers_by_the_byte, nothing, slow
from tests.system.rigs import until
from workers.content import DirectoryContent
from workers.engine.logwriting import LogWriter
from workers.errors import BuildExceeded, NoSuchBlob, SlipwayError, StepFailed
from workers.messages import (
    BuildFinished,
    BuildImage,
    BuildProgressed,
    BuildSource,
    DropBuild,
    Event,
    ImageImported,
    RegistryAccess,
)
from workers.tasks.builds import Builds
from workers.tasks.jobs import Cancelled
from workers.uploads import Uploads


class Worker:
    def __init__(self, builds: BuildRig, directory: Path) -> None:
        places = builds.rig.places
        self.uploads = Uploads(places.uploads, DirectoryContent(places.content))
        environment = SimpleNamespace(build_cache_bytes=1 << 40, build_cache_days=30)
        self.node: Any = SimpleNamespace(
            engine=builds.rig.engine, places=places, uploads=self.uploads, environment=environment
        )
        self.builds = Builds(cast(Any, self.node), builds.builder)
        self.events: list[Event] = []
        self.log = LogWriter(directory / "job-log")
        self.rig = builds

    def command(self, text: str) -> BuildImage:
        with self.uploads.content.begin() as writer:
            writer.write(context({"Dockerfile": text}))
            digest = str(self.uploads.keep(writer))
        return replace(self.rig.command(text), source=BuildSource("upload", upload=digest))

    def perform(self, command: BuildImage) -> None:
        self.builds.perform(command, self.events.append, lambda: None, self.log)

    def lines(self, build: str) -> str:
        path = self.node.places.build_log(build) / "active.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def worker(builds: BuildRig, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(builds, tmp_path)
    yield made
    made.log.close()


def test_a_build_tells_its_steps_its_image_and_its_end_in_this_order(worker: Worker) -> None:
    command = worker.command("FROM base\nRUN echo hi\n")
    command = replace(command, options=replace(command.options, tags=("web:1",)))

    worker.perform(command)

    *told, imported, finished = worker.events
    assert isinstance(imported, ImageImported)
    assert isinstance(finished, BuildFinished)
    assert imported.references == ("web:1",)
    assert finished.image_id == imported.image_id
    steps = steps_told(told, command.build)
    assert [step.state for step in steps] == ["done"] * 4
    step = next(step for step in steps if "RUN" in step.name)
    assert f"{step.id}:stdout F hi" in worker.lines(command.build)


def test_a_failed_build_has_told_which_step_failed(worker: Worker) -> None:
    with pytest.raises(StepFailed):
        worker.perform(worker.command("FROM base\nRUN exit 3\n"))
    last = worker.events[-1]
    assert isinstance(last, BuildProgressed)
    assert [step.state for step in last.steps if "RUN" in step.name] == ["failed"]


def test_a_secret_in_an_error_is_taken_out(worker: Worker) -> None:
    command = worker.command("FROM base\nRUN echo the-secret-value; exit 1\n")
    command = replace(command, options=replace(command.options, secrets={"s": "the-secret-value"}))
    with pytest.raises(StepFailed) as raised:
        worker.perform(command)
    assert "the-secret-value" not in str(raised.value) + raised.value.message + str(raised.value.facts)
    assert "the-secret-value" not in worker.lines(command.build)


def test_a_higher_attempt_ends_a_lower_one_and_a_lower_one_is_not_begun(worker: Worker) -> None:
    wait = "if [ -e /run/secrets/fast ]; then echo fast; else echo up; sleep 1000; fi"
    slow = worker.command(f"FROM base\nRUN --mount=type=secret,id=fast {wait}\n")
    ends: list[BaseException] = []

    def first() -> None:
        try:
            worker.perform(slow)
        except BaseException as error:  # noqa: BLE001 - told to the test
            ends.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    until(lambda: "up" in worker.lines(slow.build))
    second = replace(slow, job="2" * 32, attempt=2, options=replace(slow.options, secrets={"fast": "yes!"}))
    worker.perform(second)
    thread.join()

    assert [type(end) for end in ends] == [Cancelled]
    assert isinstance(worker.events[-1], BuildFinished)
    assert worker.events[-1].attempt == 2
    with pytest.raises(Cancelled):
        worker.perform(slow)


def test_a_dropped_build_leaves_nothing_and_never_comes_back(worker: Worker) -> None:
    command = worker.command("FROM base\nRUN echo up; sleep 1000\n")
    ends: list[BaseException] = []

    def run() -> None:
        try:
            worker.perform(command)
        except BaseException as error:  # noqa: BLE001 - told to the test
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: "up" in worker.lines(command.build))

    assert worker.builds.drop(DropBuild(command.build))
    thread.join()

    assert [type(end) for end in ends] == [Cancelled]
    assert not worker.node.places.build_log(command.build).exists()
    with pytest.raises(Cancelled):
        worker.perform(replace(command, attempt=99))
    assert worker.builds.drop(DropBuild(command.build))  # again


def test_an_upload_that_is_gone_is_said_so(worker: Worker) -> None:
    command = worker.command("FROM base\n")
    missing = replace(command, source=BuildSource("upload", upload="sha256:" + "0" * 64))
    with pytest.raises(NoSuchBlob, match="upload it again"):
        worker.perform(missing)


def test_what_steps_tell_has_no_secret_and_no_password(worker: Worker) -> None:
    text = "FROM base\nARG A\nADD http://127.0.0.1:9/${A} /y\nRUN true\n"
    command = worker.command(text)
    options = replace(command.options, secrets={"s": "the-secret-value"}, args={"A": "the-secret-value"})
    access = {"registry.example": RegistryAccess(username="u", password="the-password-1")}
    for hidden in ("the-secret-value", "the-password-1"):
        build = secrets.token_hex(16)
        wanted = replace(command, options=replace(options, args={"A": hidden}), access=access)
        with pytest.raises(SlipwayError) as raised:
            worker.perform(replace(wanted, build=build))
        steps = steps_told(worker.events, build)
        assert ["***" in step.reason for step in steps if step.state == "failed"] == [True], steps
        assert hidden not in str(worker.events) + str(raised.value) + str(raised.value.facts)


@pytest.mark.parametrize("serve", [body_by_the_byte, headers_by_the_byte, nothing])
def test_a_registry_that_is_slow_can_be_left(worker: Worker, serve: Serve) -> None:
    with slow(serve) as place:
        access = {place: RegistryAccess(plain_http=True, allow_private=True)}
        command = replace(worker.command(f"FROM {place}/base:1\n"), access=access)
        begun = time.monotonic()

        def cancelled() -> None:
            if time.monotonic() > begun + 0.7:
                raise Cancelled

        with pytest.raises(Cancelled):
            worker.builds.perform(command, worker.events.append, cancelled, worker.log)
        assert time.monotonic() - begun - 0.7 < 2

        begun = time.monotonic()
        with pytest.raises(BuildExceeded, match="its time"):
            worker.perform(replace(command, build=secrets.token_hex(16), timeout=0.5))
        assert time.monotonic() - begun < 0.5 + 2


def test_an_attempt_that_waits_for_the_one_before_it_can_be_cancelled(worker: Worker) -> None:
    command = worker.command("FROM base\n")
    stuck, over = threading.Event(), threading.Event()

    def emit(event: Event) -> None:
        stuck.set()
        over.wait()

    def first() -> None:
        with suppress(Cancelled):
            worker.builds.perform(command, emit, lambda: None, worker.log)

    def cancelled() -> None:
        raise Cancelled

    thread = threading.Thread(target=first)
    thread.start()
    stuck.wait()
    since = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            worker.builds.perform(replace(command, attempt=2), worker.events.append, cancelled, worker.log)
        assert time.monotonic() - since < 2
    finally:
        over.set()
        thread.join()
