"""A node whose disk is full: every failure says so, nothing is half-done, and space is all it takes."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archives import E, tar
from tests.system.nodes import SCOPE, NodeUnderTest, open_node_under_test
from tests.system.rigs import until
from workers.errors import NoSpace
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerStarted,
    ImageImported,
    ImportImage,
    JobFailed,
)

DISK = 96 << 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeUnderTest]:
    """Its data lie on a small disk of their own."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    node = open_node_under_test(disk=image)
    try:
        node.start_agent()
        node.start_worker()
        node.import_image()
        yield node
    finally:
        ballast_of(node).unlink(missing_ok=True)
        node.close()


def fill(node: NodeUnderTest, *, leave: int) -> Path:
    """Take all but ``leave`` bytes of the disk."""
    path = ballast_of(node)
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        file.truncate(max(0, file.tell() - leave))
        os.fsync(file.fileno())
    return path


def ballast_of(node: NodeUnderTest) -> Path:
    return node.places.data / "ballast"


def archive(size: int) -> bytes:
    return tar([E("big", random.Random(size).randbytes(size))])


def test_an_import_that_does_not_fit_says_so_and_leaves_nothing(node: NodeUnderTest) -> None:
    digest = node.upload(archive(8 << 20))
    ballast = fill(node, leave=3 << 20)
    job = secrets.token_hex(16)
    node.send(ImportImage(job, SCOPE, digest, repository="big", tag="latest"))
    failed = node.wait_for(JobFailed, job=job)
    assert failed.cause.code == NoSpace.code
    assert "No space left on the disk" in failed.cause.message
    until(lambda: not list(node.places.layer_ingest.iterdir()), lambda: "half a layer is left")
    ballast.unlink()
    ballast = fill(node, leave=3 << 20)
    status, body = node.request("PUT", "/v1/uploads", archive(9 << 20))
    assert (status, NoSpace.code.encode() in body) == (507, True), body

    ballast.unlink()
    job = secrets.token_hex(16)
    node.send(ImportImage(job, SCOPE, node.upload(archive(8 << 20)), repository="big", tag="latest"))
    assert node.wait_for(ImageImported, job=job).references


def test_a_start_on_a_full_disk_fails_for_that_reason_or_waits_and_succeeds_once_there_is_space(
    node: NodeUnderTest,
) -> None:
    """It depends on whether the last bytes suffice to journal the failure."""
    before = node.run("sleep", "100000")
    ballast = fill(node, leave=0)
    command = node.command("sh", "-c", "echo there is space; exit 4")
    node.send(command)
    until(lambda: "NO_SPACE" in node.said() or bool(node.of(command.container)), node.said)
    assert not any(isinstance(event, ContainerStarted) for event in node.of(command.container))
    assert not (node.places.snapshot(command.container) / "rw" / "work").exists()
    ballast.unlink()

    until(lambda: bool(node.of(command.container)), node.said)
    first = node.of(command.container)[0]
    if isinstance(first, ContainerFailed):
        assert first.cause.code == NoSpace.code, first
        node.send(node.command(*command.spec.command, container=command.container, generation=2, run=2))
    assert node.exit_of(command.container).exit_code == 4
    assert node.lines(command.container) == ["there is space"]
    assert not [event for event in node.of(before) if isinstance(event, ContainerExited)]


def test_an_exit_while_the_journal_has_no_space_is_told_once_it_has(node: NodeUnderTest) -> None:
    container = node.run("sleep", "100000")
    ballast = fill(node, leave=0)
    status, _ = node.request("POST", f"/v1/containers/{container}/kill", b'{"signal": "SIGKILL"}')
    assert status == 204
    until(lambda: "No space for the journal" in node.said() or bool(node.of(container)[1:]), node.said)
    ballast.unlink()
    assert node.exit_of(container).exit_code == 137
