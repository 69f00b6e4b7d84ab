"""A worker whose whole control group is killed at once: nothing of its builds runs on meanwhile."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stack import cgroups
from tests.system.build.rigs import steps_told
from tests.system.nodes import SCOPE, NodeUnderTest, running_node
from tests.system.rigs import until
from workers.messages import (
    BuildFinished,
    BuildImage,
    BuildOptions,
    BuildSource,
    CancelJob,
    JobCancelled,
    JobSucceeded,
    Limits,
)

Ends = JobSucceeded | JobCancelled


@pytest.fixture
def node() -> Iterator[NodeUnderTest]:
    with running_node() as node:
        yield node


@pytest.fixture
def build(node: NodeUnderTest) -> Iterator[BuildImage]:
    """One that has come to a step that lasts."""
    marker = f"sleep 1000; : {secrets.token_hex(8)}"
    command = BuildImage(
        job=secrets.token_hex(16),
        build=secrets.token_hex(16),
        attempt=1,
        project=node.project,
        scope=SCOPE,
        source=BuildSource(),
        options=BuildOptions(
            dockerfile_text="FROM test\nRUN echo kept > /kept\n"
            f"RUN --mount=type=secret,id=fast test -e /run/secrets/fast || {{ echo up; {marker}; }}\n"
        ),
        limits=Limits(memory_bytes=256 << 20),
        local_images={"test:latest": node.image_id},
    )
    node.send(command)
    until(lambda: _runs(marker), node.said)
    yield command
    if node.agent is None:
        node.start_agent()
    if node.worker is None:
        node.start_worker()
    node.send(CancelJob(command.job))
    until(lambda: any(isinstance(event, Ends) and event.job == command.job for event in node.events()))


def _marker(build: BuildImage) -> str:
    return (build.options.dockerfile_text or "").partition("sleep 1000; : ")[2].partition(";")[0]


def _runs(text: str) -> list[int]:
    """Programs with this among their arguments, but for those that make containers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in arguments and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def _reapers(instance: str) -> list[int]:
    shims = [root / instance / "shims" for root in cgroups.CANDIDATES]
    return [
        pid
        for group in shims
        for pid in cgroups.members(group)
        if b"runtime.reaper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_its_reaper_is_elsewhere_and_ends_the_step(node: NodeUnderTest, build: BuildImage) -> None:
    node.kill_agent()  # nobody else is there to do it
    assert _runs(_marker(build))

    node.kill_worker()

    until(lambda: not _runs(_marker(build)))
    until(lambda: not _reapers(node.instance))


def test_with_its_reaper_gone_the_agent_ends_the_step(node: NodeUnderTest, build: BuildImage) -> None:
    (reaper,) = _reapers(node.instance)
    os.kill(reaper, signal.SIGSTOP)  # it does nothing more
    node.kill_worker()
    os.kill(reaper, signal.SIGKILL)

    until(lambda: not _runs(_marker(build)), node.said)


def test_the_next_worker_goes_on_from_the_cache(node: NodeUnderTest, build: BuildImage) -> None:
    node.kill_worker()
    until(lambda: not _runs(_marker(build)))
    node.start_worker()
    until(lambda: _runs(_marker(build)), node.said)
    assert len(_containers(_marker(build))) == 1, "never twice at once"

    faster = replace(build.options, secrets={"fast": "yes"})
    node.send(replace(build, attempt=2, options=faster))

    node.wait_for(JobSucceeded, job=build.job)
    assert node.wait_for(BuildFinished, build=build.build).attempt == 2
    assert not _runs(_marker(build))
    steps = steps_told(node.events(), build.build)
    assert [step.state for step in steps if "echo kept" in step.name] == ["cached"]


def _containers(text: str) -> set[str]:
    """The pid namespaces that run it: a shell that forks is two processes of one container."""
    found = set()
    for pid in _runs(text):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/pid"))
    return found
