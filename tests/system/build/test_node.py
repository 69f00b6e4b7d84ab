"""Builds through a node's processes: commands down, events up, the log sideways, and workers that die."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from tests.system.build.rigs import context, steps_told
from tests.system.nodes import SCOPE, NodeUnderTest, running_node
from tests.system.rigs import until
from workers.messages import (
    BuildDropped,
    BuildFinished,
    BuildImage,
    BuildOptions,
    BuildSource,
    CancelJob,
    DropBuild,
    ImageImported,
    JobCancelled,
    JobFailed,
    JobSucceeded,
)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeUnderTest]:
    with running_node() as node:
        yield node


def command(node: NodeUnderTest, text: str, **options: object) -> BuildImage:
    upload = node.upload(context({"Dockerfile": text, "f": "from the context\n"}))
    return BuildImage(
        job=secrets.token_hex(16),
        build=secrets.token_hex(16),
        attempt=1,
        project=node.project,
        scope=SCOPE,
        source=BuildSource("upload", upload=upload),
        options=BuildOptions(**options),  # type: ignore[arg-type]  # named by the test
        timeout=60.0,
        local_images={"test:latest": node.image_id},
    )


def lines(node: NodeUnderTest, build: str) -> list[str]:
    status, body = node.request("GET", f"/v1/builds/{build}/logs")
    if status == 404:
        return []
    return [json.loads(line)["l"] for line in body.splitlines() if line]


def test_a_build_becomes_an_image_that_runs(node: NodeUnderTest) -> None:
    build = command(node, "FROM test\nCOPY f /f\nRUN cat /f\n", tags=("mine:1",))

    node.send(build)
    node.wait_for(JobSucceeded, job=build.job)

    finished = node.wait_for(BuildFinished, build=build.build)
    imported = node.wait_for(ImageImported, job=build.job)
    assert (finished.image_id, imported.references) == (imported.image_id, ("mine:1",))
    assert lines(node, build.build) == ["from the context"]
    base, node.image_id = node.image_id, imported.image_id
    try:
        container = node.run("cat", "/f")
        assert node.exit_of(container).exit_code == 0
        assert node.lines(container) == ["from the context"]
    finally:
        node.image_id = base


def test_a_failure_names_its_step(node: NodeUnderTest) -> None:
    build = command(node, "FROM test\nRUN exit 9\n")
    node.send(build)
    failed = node.wait_for(JobFailed, job=build.job)
    assert failed.cause.code == "BUILD_STEP_FAILED"
    assert failed.cause.facts["line"] == 2


def test_a_cancelled_build_ends_at_once(node: NodeUnderTest) -> None:
    build = command(node, "FROM test\nRUN echo up; sleep 1000\n")
    node.send(build)
    until(lambda: "up" in lines(node, build.build), node.said)
    node.send(CancelJob(build.job))
    node.wait_for(JobCancelled, job=build.job)
    assert list(node.places.build_bundles.iterdir()) == []


def test_a_killed_worker_takes_its_builds_up_again_from_their_cache(node: NodeUnderTest) -> None:
    once = "if [ -e /c/again ]; then echo again; else touch /c/again; echo up; sleep 1000; fi"
    build = command(node, f"FROM test\nRUN echo a > /a\nRUN --mount=type=cache,target=/c {once}\n")
    node.send(build)
    until(lambda: "up" in lines(node, build.build), node.said)

    node.kill_worker()
    node.start_worker()
    node.wait_for(JobSucceeded, job=build.job)

    assert "again" in lines(node, build.build)
    steps = steps_told(node.events(), build.build)
    states = [step.state for step in steps if "RUN" in step.name]
    assert states == ["cached", "done"]
    assert list(node.places.build_bundles.iterdir()) == []
    assert list(node.places.build_work.iterdir()) == []


def test_a_dropped_build_has_no_log(node: NodeUnderTest) -> None:
    build = command(node, "FROM test\nRUN echo hi\n")
    node.send(build)
    node.wait_for(JobSucceeded, job=build.job)
    node.send(DropBuild(build.build))
    node.wait_for(BuildDropped, build=build.build)
    assert lines(node, build.build) == []
