"""What of a job lies on a node's disk: its command only sealed, and never for longer than it is needed."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import eventually
from tests.workers.jobnodes import JobNode
from workers.engine.host import Emit
from workers.engine.places import Places
from workers.messages import (
    BuildImage,
    BuildOptions,
    BuildSource,
    ImportImage,
    JobStarted,
    JobSucceeded,
    ProjectSlice,
    encode,
)
from workers.tasks.jobfiles import JobCommand, JobFiles

CANARY = "canary-8d1f"


def build(job: str) -> BuildImage:
    return BuildImage(
        job,
        job,
        1,
        ProjectSlice("p", 1 << 20, "10.87.3.0/24"),
        "p",
        source=BuildSource("git", url="https://git.test/x", username="me", password=f"{CANARY}-1"),
        options=BuildOptions(secrets={"s": f"{CANARY}-2"}),
    )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[JobNode]:
    yield from JobNode.living(tmp_path)


def found(places: Places) -> list[Path]:
    """Files below the data directory that hold the canary."""
    files = [path for path in places.data.rglob("*") if path.is_file() and places.run not in path.parents]
    return [path for path in files if CANARY.encode() in path.read_bytes()]


def test_a_command_comes_back_as_it_went(node: JobNode) -> None:
    files = JobFiles(node.places)
    files.store("j", build("j"), JobSucceeded("j"))
    assert JobFiles(node.places).load("j") == (build("j"), JobSucceeded("j"))
    assert files.load("other") == (None, None)


def test_secrets_of_a_job_that_runs_are_in_no_file_of_the_nodes_disk(node: JobNode) -> None:
    seen: list[list[Path]] = []

    def perform(command: JobCommand, emit: Emit) -> None:
        assert command == build("j")
        assert node.places.job("j").exists()
        seen.append(found(node.places))

    node.perform = perform
    node.start().submit(build("j"))
    eventually(lambda: node.ended("j"))
    assert seen == [[]]
    key = node.places.job_key.stat()
    assert stat.S_IMODE(key.st_mode) == 0o600


def test_a_sealed_command_is_its_jobs_alone(node: JobNode) -> None:
    files = JobFiles(node.places)
    files.store("j", build("j"), None)
    node.places.job("k").write_bytes(node.places.job("j").read_bytes())
    assert files.load("k") == (None, None)


def test_after_a_reboot_jobs_wait_to_be_sent_again(node: JobNode) -> None:
    files = JobFiles(node.places)
    files.store("j", build("j"), None)
    files.store("ended", None, JobSucceeded("ended"))
    node.places.job_key.unlink()
    jobs = node.start()
    assert not node.places.job("j").exists()
    assert node.events == []
    jobs.submit(build("ended"))
    assert node.events == [JobSucceeded("ended")]
    jobs.submit(build("j"))
    eventually(lambda: node.ended("j"))
    assert node.events[1:] == [JobStarted("j"), JobSucceeded("j")]


def test_what_an_earlier_version_kept_in_clear_is_done(node: JobNode) -> None:
    command = ImportImage(job="j", scope="scope", upload="sha256:" + "0" * 64)
    node.places.job("j").write_text(json.dumps({"command": encode(command), "outcome": None}))
    node.start()
    eventually(lambda: node.ended("j"))
    assert node.events == [JobStarted("j"), JobSucceeded("j")]
