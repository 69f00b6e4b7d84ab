"""Builds on the real thing: by REST and the command line, cancelled, and with their worker killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.environment import ROOT
from tests.rest import Rest, until
from tests.stacks import RunningStack

pytestmark = pytest.mark.e2e
CANARY = "canary-0f-a-real-build"
PATIENCE = 60.0
NOTICED = 15.0
LONG_AGO = "2000-01-01T00:00:00Z"


def ask(rest: Rest, text: str, **options: Any) -> str:
    """Queue a build of the Dockerfile ``text``; its address."""
    body = {"dockerfile_text": text, **options}
    made = rest.call("POST", f"/projects/{rest.project}/builds", body)
    return f"/projects/{rest.project}/builds/{made['number']}"


def ended(rest: Rest, address: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        build: dict[str, Any] = rest.call("GET", address)
        return build if build["state"] in ("succeeded", "failed", "cancelled") else None

    return until(look, PATIENCE, f"{address} has not ended")


def running(rest: Rest, address: str, word: str) -> bool:
    """Wait until a step with ``word`` in its name runs."""

    def look() -> bool | None:
        steps = rest.call("GET", address)["steps"]
        return any(step["state"] == "running" and word in step["name"] for step in steps) or None

    return until(look, PATIENCE, f"no step of {address} with {word} runs")


def test_a_dockerfile_is_built_and_its_image_runs(rest: Rest, unique: Callable[[str], str]) -> None:
    name = unique("built")
    text = 'FROM busybox\nRUN echo from the build > /said\nCMD ["cat", "/said"]\n'
    build = ended(rest, ask(rest, text, tags=[name]))
    assert build["state"] == "succeeded", build["cause"]
    container = rest.create(unique("run"), "cat", "/said", image=name)
    assert rest.wait(container["name"])["exit_code"] == 0
    assert rest.log(container["name"]) == ["from the build"]
    again = ended(rest, ask(rest, text, tags=[name]))
    assert again["image"] == build["image"]
    assert [step["state"] for step in again["steps"] if "RUN" in step["name"]] == ["cached"]


def test_the_command_builds_a_folder(
    stack: RunningStack, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY . /context\nRUN test ! -e /context/no.log\n")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    (tmp_path / "no.log").write_text("stays here")
    (tmp_path / "hello").write_text("hello")
    secret = tmp_path.with_name(f"{tmp_path.name}.secret")
    secret.write_text(CANARY)
    variables = {"SLIPWAY_URL": stack.url, "SLIPWAY_TOKEN": stack.token, "SLIPWAY_PROJECT": stack.project}
    name = unique("folder")
    command = ["bin/slipway", "build", str(tmp_path), "-t", name, "--progress", "plain"]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    done = call()
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr
    assert "] RUN test ! -e" in done.stderr
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key\nRUN exit 3\n"
    )
    failed = call("--secret", f"id=key,src={secret}")
    assert failed.returncode == 1
    assert "   3 | >>> RUN exit 3" in failed.stderr
    assert CANARY not in failed.stderr


def test_a_running_build_is_cancelled(rest: Rest) -> None:
    address = ask(rest, "FROM busybox\nRUN sleep 600\n")
    running(rest, address, "sleep 600")
    rest.call("POST", f"{address}/cancel", {})
    build = ended(rest, address)
    assert build["state"] == "cancelled"
    assert [step["state"] for step in build["steps"] if "sleep" in step["name"]] == ["cancelled"]


def test_a_build_goes_on_from_its_cache_when_its_worker_was_killed(
    stack: RunningStack, rest: Rest, unique: Callable[[str], str]
) -> None:
    first, second = unique("first"), unique("second")
    address = ask(rest, f"FROM busybox\nRUN echo {first}\nRUN echo {second}; sleep 3\n")
    running(rest, address, second)
    worker = stack.pid("worker")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    build = ended(rest, address)
    assert build["state"] == "succeeded", build["cause"]
    states = {step["name"].partition("echo ")[2].partition(";")[0]: step["state"] for step in build["steps"]}
    assert (states[first], states[second]) == ("cached", "done")


def test_a_killed_worker_is_noticed_within_fifteen_seconds(
    stack: RunningStack, rest: Rest, unique: Callable[[str], str]
) -> None:
    """Killed, its build goes on with the next worker; silent, it is attempted again."""
    word = unique("killed")
    address = ask(rest, f"FROM busybox\nRUN echo {word}; sleep 60\n")
    running(rest, address, word)
    worker = stack.pid("worker")
    assert worker is not None
    killed = datetime.now(UTC)
    os.kill(worker, signal.SIGKILL)

    def begun_again() -> bool | None:
        steps = [step for step in rest.call("GET", address)["steps"] if word in step["name"]]
        return any(datetime.fromisoformat(step["started_at"] or LONG_AGO) > killed for step in steps) or None

    until(begun_again, NOTICED, f"after {NOTICED} s nobody goes on with the build")
    rest.call("POST", f"{address}/cancel", {})
    assert ended(rest, address)["state"] == "cancelled"


def test_a_silent_worker_is_noticed_within_fifteen_seconds(
    stack: RunningStack, rest: Rest, unique: Callable[[str], str]
) -> None:
    word = unique("silent")
    address = ask(rest, f"FROM busybox\nRUN echo {word}; sleep 3\n")
    running(rest, address, word)
    worker = stack.pid("worker")
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    try:
        until(
            lambda: rest.call("GET", address)["attempt"] == 2 or None,
            NOTICED,
            f"after {NOTICED} s nobody has noticed that the worker is silent",
        )
    finally:
        os.kill(worker, signal.SIGCONT)
    build = ended(rest, address)
    assert (build["state"], build["attempt"]) == ("succeeded", 2), build["cause"]


def test_teams_take_turns(rest: Rest, neighbour: Rest) -> None:
    """One queued five before the other queued one; with two slots, it is among the first three."""
    text = "FROM busybox\nRUN echo {}; sleep 1\n"
    mine = [ask(rest, text.format(f"mine {number} {os.getpid()}")) for number in range(5)]
    theirs = ask(neighbour, text.format(f"theirs {os.getpid()}"))
    builds = [ended(rest, address) for address in mine]
    other = ended(neighbour, theirs)
    assert {build["state"] for build in (*builds, other)} == {"succeeded"}
    before = [build for build in builds if build["started_at"] < other["started_at"]]
    assert len(before) <= 3
