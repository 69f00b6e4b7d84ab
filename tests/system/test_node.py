"""A node's processes together: sealed commands down, events up in order, and nobody irreplaceable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import ROOT
from tests.system.nodes import NODE, SCOPE, NodeUnderTest, running_node
from tests.system.rigs import until
from workers import sealing
from workers.engine import records
from workers.engine.records import Record
from workers.engine.runtime import process
from workers.messages import (
    BakeImage,
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    ImageImported,
    ImportImage,
    Inventory,
    JobFailed,
    JobStarted,
    JobSucceeded,
    RemoveContainer,
    StopContainer,
    encode,
)

FOREVER = ("sleep", "100000")


@pytest.fixture(scope="module")
def node_of_module() -> Iterator[NodeUnderTest]:
    with running_node() as node:
        yield node


@pytest.fixture
def node(node_of_module: NodeUnderTest) -> Iterator[NodeUnderTest]:
    """With both processes running, whatever the test before did to them."""
    yield node_of_module
    if node_of_module.agent is None:
        node_of_module.start_agent()
    if node_of_module.worker is None:
        node_of_module.start_worker()


def record(node: NodeUnderTest, container: str) -> Record:
    found = records.find(node.places, container)
    assert found is not None
    return found


def test_an_import_is_told_in_order_and_its_upload_is_gone(node: NodeUnderTest) -> None:
    told = [event for event in node.events() if getattr(event, "job", None) is not None]
    kinds = [type(event) for event in told]
    assert kinds[0] is JobStarted
    assert kinds[-2:] == [ImageImported, JobSucceeded]
    until(lambda: not list((node.places.content / "blobs" / "sha256").iterdir()))


def test_a_broken_archive_fails_its_job_with_a_cause(node: NodeUnderTest) -> None:
    node.send(ImportImage("broken", SCOPE, node.upload(b"this is no archive" * 100)))
    assert node.wait_for(JobFailed, job="broken").cause.code == "ARCHIVE_INVALID"
    until(lambda: not list((node.places.content / "blobs" / "sha256").iterdir()))


def test_an_import_whose_upload_is_gone_fails_with_a_cause(node: NodeUnderTest) -> None:
    node.send(ImportImage("gone", SCOPE, "sha256:" + "0" * 64))
    assert node.wait_for(JobFailed, job="gone").cause.code == "BLOB_UNKNOWN"


def test_busybox_is_baked_and_imported(node: NodeUnderTest) -> None:
    node.send(BakeImage("bake", SCOPE, "busybox", "library/busybox", "latest"))
    imported = node.wait_for(ImageImported, job="bake")
    node.wait_for(JobSucceeded, job="bake")
    assert imported.references[0] == "busybox:latest"
    assert imported.references[-1] == "busybox:1"


def test_what_a_job_prints_is_followed_to_its_end(node: NodeUnderTest) -> None:
    node.send(BakeImage("told", SCOPE, "busybox", "library/busybox", "latest"))
    until(lambda: node.request("GET", "/v1/jobs/told/logs")[0] == 200)
    status, body = node.request("GET", "/v1/jobs/told/logs?follow=1")
    lines = [json.loads(line)["l"] for line in body.splitlines() if line]
    assert (status, lines[-1]) == (200, "Done.")
    assert any("applets" in line for line in lines)
    node.wait_for(JobSucceeded, job="told")


def test_a_container_runs_logs_and_exits(node: NodeUnderTest) -> None:
    container = node.run("sh", "-c", "for i in $(seq 1 1000); do echo line $i; done; exit 3")
    assert node.lines(container) == [f"line {number}" for number in range(1, 1001)]
    assert node.exit_of(container).exit_code == 3
    assert [type(event) for event in node.of(container)] == [ContainerStarted, ContainerExited]


def test_a_command_delivered_many_times_runs_once(node: NodeUnderTest) -> None:
    command = node.command("sh", "-c", "echo once")
    for _ in range(5):
        node.send(command)
    node.wait_for(ContainerExited, container=command.container)
    node.send(node.command(*FOREVER))  # answered after all of them
    node.wait_for(ContainerStarted, container=node.made[-1])
    assert node.lines(command.container) == ["once"]
    assert {event.run for event in node.of(command.container)} == {1}  # type: ignore[union-attr]


def test_a_command_that_is_not_found_fails_with_127(node: NodeUnderTest) -> None:
    command = node.command("no-such-program")
    node.send(command)
    failed = node.wait_for(ContainerFailed, container=command.container)
    assert (failed.exit_code, failed.cause.code) == (127, "COMMAND_NOT_FOUND")


def test_stop_and_remove_are_told(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    node.send(StopContainer(container, 2, timeout=0.1))
    exited = node.wait_for(ContainerExited, container=container, generation=2)
    assert exited.exit_code == 137
    node.send(RemoveContainer(container, 3))
    node.wait_for(ContainerRemoved, container=container)


def test_kill_and_usage_go_sideways(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    status, body = node.request("GET", f"/v1/containers/{container}/usage")
    usage = json.loads(body)
    assert status == 200
    assert usage["memory_limit"] == 64 << 20
    assert usage["pids"] >= 1
    assert node.request("POST", f"/v1/containers/{container}/kill", b'{"signal": "SIGKILL"}')[0] == 204
    assert node.exit_of(container).exit_code == 137
    until(lambda: node.request("POST", f"/v1/containers/{container}/kill", b"{}")[0] == 409)


def test_an_envelope_of_a_stranger_is_dropped(node: NodeUnderTest) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    command = node.command(*FOREVER)
    node.send_envelope(
        sealing.seal(
            encode(command),
            node=NODE,
            node_public_key=sealing.load_node_key(node.places.keys / "node").public_key(),
            signing_key=Ed25519PrivateKey.generate(),
        )
    )
    node.run("true")
    assert node.of(command.container) == []
    assert "command_rejected" in node.said()


def test_an_exit_while_no_agent_was_there_is_found(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    node.kill_agent()
    pid = record(node, container).pid
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    until(lambda: node.places.exit(container).exists())
    node.start_agent()
    assert node.exit_of(container).exit_code == 137


def test_a_container_started_while_no_agent_was_there_is_watched(node: NodeUnderTest) -> None:
    node.kill_agent()
    command = node.command("sh", "-c", "sleep 1; exit 4")
    node.send(command)
    until(lambda: node.places.pidfile(command.container).exists(), node.said)
    node.start_agent()
    assert node.exit_of(command.container).exit_code == 4
    assert [type(event) for event in node.of(command.container)] == [ContainerStarted, ContainerExited]


def test_a_killed_shim_leaves_an_exit_that_is_known_to_be_unknown(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    found = record(node, container)
    assert found.shim is not None
    os.kill(found.shim.pid, signal.SIGKILL)
    until(lambda: found.shim is not None and not process.alive(found.shim))
    os.kill(found.pid, signal.SIGKILL)
    exited = node.exit_of(container)
    assert exited.exit_code is None
    assert exited.cause is not None
    assert exited.cause.code == "SHIM_LOST"


def test_killing_the_workers_group_leaves_containers_running_and_commands_waiting(
    node: NodeUnderTest,
) -> None:
    container = node.run("sh", "-c", "sleep 1; echo survived; exit 5")
    node.kill_worker()
    waiting = node.command("sh", "-c", "exit 6")
    node.send(waiting)
    assert process.find(record(node, container).pid) is not None
    assert node.exit_of(container).exit_code == 5
    assert node.lines(container) == ["survived"]
    node.start_worker()
    assert node.exit_of(waiting.container).exit_code == 6


def test_commands_a_killed_worker_had_in_hand_are_taken_up_by_the_next(node: NodeUnderTest) -> None:
    containers = [node.run("sh", "-c", "trap '' TERM; sleep 100000") for _ in range(2)]
    for container in containers:
        node.send(StopContainer(container, 2, timeout=3))
    until(lambda: all(record(node, each).stopping is not None for each in containers))
    node.kill_worker()
    node.start_worker()
    for container in containers:
        assert node.wait_for(ContainerExited, container=container, generation=2).exit_code == 137


def test_an_emptied_redis_loses_nothing(node: NodeUnderTest) -> None:
    container = node.run("sh", "-c", "exit 7")
    node.exit_of(container)
    before = node.events()
    with node.redis.client() as client:
        client.flushall()
    until(lambda: node.events()[: len(before)] == before, node.said)
    assert node.exit_of(node.run("sh", "-c", "exit 8")).exit_code == 8


def test_redis_may_die_and_come_back_empty(node: NodeUnderTest) -> None:
    container = node.run("sh", "-c", "sleep 1; exit 9")
    node.redis.kill()
    until(lambda: node.places.exit(container).exists() or record(node, container).phase == "exited")
    node.redis.start()
    assert node.exit_of(container).exit_code == 9
    assert node.exit_of(node.run("sh", "-c", "exit 10")).exit_code == 10


def test_the_heartbeat_tells_of_the_node(node: NodeUnderTest) -> None:
    with node.redis.client() as client:
        key = f"slipway:heartbeat:{NODE}"
        until(lambda: client.exists(key) == 1)
        beat = json.loads(client.get(key) or "")
        assert 0 < client.ttl(key) <= 15
    assert beat["boot"] == records.boot_id()
    assert beat["runtime"] in ("crun", "runc")
    assert beat["last_seq"] >= 1


def test_an_inventory_names_what_the_node_holds(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    node.kill_agent()
    node.start_agent()
    until(
        lambda: any(
            facts.container == container and facts.state == "running"
            for event in node.events()
            if isinstance(event, Inventory)
            for facts in event.containers
        )
    )


@pytest.mark.parametrize("what", ["agent", "worker"])
def test_a_second_process_of_a_kind_is_refused_in_a_sentence(node: NodeUnderTest, what: str) -> None:
    argv = {
        "agent": ["-m", "workers.agent"],
        "worker": ["-m", "celery", "-A", "workers.app", "worker"],
    }[what]
    done = subprocess.run(
        [sys.executable, *argv], env=node.environment, cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"slipway {what}: Another {what} runs for {node.places.run}" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_node_that_is_not_registered_says_so(node: NodeUnderTest, tmp_path: Path) -> None:
    environment = {
        **node.environment,
        "SLIPWAY_DATA": str(tmp_path / "data"),
        "SLIPWAY_RUN": str(tmp_path / "run"),
    }
    argv = [sys.executable, "-m", "celery", "-A", "workers.app", "worker"]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"this node is not registered. Run `manage.py register_node`" in done.stderr
    assert b"Traceback" not in done.stderr


def test_sigterm_ends_both_at_once_and_containers_go_on(node: NodeUnderTest) -> None:
    container = node.run(*FOREVER)
    assert node.agent is not None
    assert node.worker is not None
    node.agent.terminate()
    node.worker.terminate()
    assert node.agent.wait(10) == 0
    assert node.worker.wait(10) == 0
    node.agent = node.worker = None
    assert process.find(record(node, container).pid) is not None
    assert not node.places.agent_socket.exists()
