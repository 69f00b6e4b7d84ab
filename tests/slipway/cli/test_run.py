"""`run` against a fake server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from tests.slipway.cli.conftest import TOKEN, Slipway
from tests.slipway.cli.rows import ID, WEB, container
from tests.slipway.cli.server import Asked, Server, send_pieces
from tests.slipway.cli.test_start import ENVIRONMENT, LAUNCHER


def serve_run(server: Server, ended: dict[str, Any], *texts: str) -> None:
    rows = [
        {"position": at, "next": at + 1, "time": "t", "stream": "stdout", "text": text, "whole": True}
        for at, text in enumerate(texts)
    ]
    log = "".join(json.dumps(row) + "\n" for row in rows).encode()
    server.on("POST", f"{WEB}/containers", container(state="created", pending=True), 201)
    server.on(
        "GET", f"{WEB}/containers/{ID}/logs", lambda _, handler: send_pieces(handler, [log], whole=True)
    )
    server.on("GET", f"{WEB}/containers/{ID}/wait", {"reached": True, "container": ended})
    server.on("DELETE", f"{WEB}/containers/{ID}", ended, 202)


def test_run_prints_the_output_and_ends_as_the_container_ended(server: Server, signed_in: Slipway):
    serve_run(server, container(exit_code=42), "hello", "there")
    line = "run --rm --name n -e A=1 -m 64m --cpus 0.5 --pids 9 busybox sh -c exit"
    done = signed_in(*line.split(), "--name", "mine")
    assert (done.code, done.out, done.err) == (42, "hello\nthere\n", "")
    asked = server.asked("POST", f"{WEB}/containers")[0]
    assert asked.json["command"] == ["sh", "-c", "exit", "--name", "mine"]
    assert asked.json["limits"] == {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 9}
    assert (asked.json["name"], asked.json["env"], asked.json["start"]) == ("n", ["A=1"], True)
    assert len(asked.headers["idempotency-key"]) == 32
    assert len(server.asked("DELETE", f"{WEB}/containers/{ID}")) == 1


def test_run_tells_a_program_that_could_not_start_from_one_that_failed(server: Server, signed_in: Slipway):
    cause = {"code": "COMMAND_NOT_FOUND", "message": "No such program."}
    serve_run(server, container(exit_code=127, started_at=None, cause=cause))
    done = signed_in("run", "--rm", "busybox", "nosuch")
    assert (done.code, "No such program. (COMMAND_NOT_FOUND)" in done.err) == (127, True)
    assert len(server.asked("DELETE", f"{WEB}/containers/{ID}")) == 1
    serve_run(server, container(exit_code=None, started_at=None, cause=cause))
    assert signed_in("run", "busybox").code == 125


def test_run_in_the_background_prints_the_id_alone(server: Server, signed_in: Slipway):
    serve_run(server, container())
    assert signed_in("run", "-d", "busybox").out == f"{ID}\n"
    assert signed_in("run", "-d", "--rm", "busybox").code == 125


def test_a_request_whose_answer_is_lost_is_sent_again_under_the_same_key(server: Server, signed_in: Slipway):
    lost = iter([True, False])

    def create(_: Asked, handler: Any) -> dict[str, Any] | None:
        if next(lost):
            handler.close_connection = True
            return None
        return container()

    server.on("POST", f"{WEB}/containers", create, 201)
    assert signed_in("run", "-d", "busybox").out == f"{ID}\n"
    first, second = server.asked("POST", f"{WEB}/containers")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


# --------------------------------------------------------------------------- Ctrl-C


@pytest.fixture
def running(server: Server) -> Any:
    """`slipway run` of a container that says one line and goes on until ``ending`` is set."""
    ending = threading.Event()

    def log(_: Asked, handler: Any) -> None:
        row = {"position": 0, "next": 5, "time": "t", "stream": "stdout", "text": "up", "whole": True}
        send_pieces(handler, [json.dumps(row).encode() + b"\n"], whole=False, until=ending)

    serve_run(server, container(exit_code=143))
    server.on("GET", f"{WEB}/containers/{ID}/logs", log)
    environment = {"SLIPWAY_URL": server.url, "SLIPWAY_TOKEN": TOKEN, "SLIPWAY_PROJECT": "acme/web"}
    process = subprocess.Popen(
        [*LAUNCHER, "run", "busybox"],
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process, ending
    finally:
        ending.set()
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str], expected: str) -> None:
    """Ctrl-C, and what it says."""
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == "\n"
    assert expected in process.stderr.readline()


def test_the_first_interrupt_stops_the_container_and_the_command_sees_it_end(server: Server, running: Any):
    process, ending = running

    def stopped(_: Asked, __: Any) -> dict[str, Any]:
        ending.set()
        return container()

    server.on("POST", f"{WEB}/containers/{ID}/stop", stopped, 202)
    interrupt(process, "Stopping calm_brig")
    assert process.wait(10) == 143
    assert process.communicate()[0] == ""


def test_the_second_interrupt_kills_and_the_third_leaves_the_container_alone(server: Server, running: Any):
    process, _ = running
    server.on("POST", f"{WEB}/containers/{ID}/stop", container(), 202)
    killed = threading.Event()

    def kill(_: Asked, __: Any) -> dict[str, Any]:
        killed.set()
        return {}

    server.on("POST", f"{WEB}/containers/{ID}/kill", kill)
    interrupt(process, "Stopping")
    interrupt(process, "Killing")
    assert killed.wait(10)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
    assert server.asked("POST", f"{WEB}/containers/{ID}/kill")[0].json == {"signal": "SIGKILL"}
