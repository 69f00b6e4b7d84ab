"""A node of real processes: Redis, Celery worker, agent; the test plays the platform."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from celery import Celery
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kombu import Exchange, Queue

from stack import cgroups
from stack.readiness import Broker, UnixConnection, agent_ready
from tests.environment import ROOT, instance, scratch
from tests.system.rigs import rootfs, until
from tests.workers.conftest import PrivateRedis
from workers import sealing
from workers.engine import containers
from workers.engine.host import open_engine, teardown
from workers.engine.places import Places
from workers.messages import (
    Command,
    ContainerExited,
    ContainerSpec,
    ContainerStarted,
    Event,
    ImageImported,
    ImportImage,
    JobFailed,
    JobSucceeded,
    Limits,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
    decode_event,
    encode,
)

NODE = "node-under-test"
SCOPE = "7" * 32
_Event = TypeVar("_Event", bound=Event)


@dataclass
class NodeUnderTest:
    instance: str
    places: Places
    redis: PrivateRedis
    environment: Mapping[str, str]
    signing_key: Ed25519PrivateKey
    index: int
    image_id: str = ""
    worker: subprocess.Popen[bytes] | None = None
    agent: subprocess.Popen[bytes] | None = None
    made: list[str] = field(default_factory=list)
    app: Celery | None = None

    # ------------------------------------------------------------------ processes

    def start_worker(self) -> None:
        """In a control group of its own, as a service manager has it."""
        argv = [
            *(sys.executable, "-m", "celery", "-A", "workers.app", "worker"),
            *("--pool", "threads", "-Q", f"node.{NODE}", "--loglevel", "INFO"),
        ]
        self.worker = self._start(argv, "worker")
        until(Broker(self.redis.socket, NODE).worker_listens, self.said)

    def start_agent(self) -> None:
        self.agent = self._start([sys.executable, "-m", "workers.agent"], "agent")
        until(lambda: agent_ready(self.places.agent_socket), self.said)

    def _start(self, argv: list[str], name: str) -> subprocess.Popen[bytes]:
        group = cgroups.ensure(self.instance, name)
        with (self.places.run / f"{name}.txt").open("ab") as output:
            process = subprocess.Popen(
                argv, env=self.environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
            )
        if group is not None:
            (group / "cgroup.procs").write_text(str(process.pid))
        return process

    def kill_worker(self) -> None:
        """The whole control group at once, as systemd does."""
        group = cgroups.ensure(self.instance, "worker")
        assert group is not None
        members = cgroups.members(group)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another one die
            for pid in members:
                os.kill(pid, number)
        assert self.worker is not None
        self.worker.wait()
        self.worker = None

    def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()
        self.agent = None

    def said(self) -> str:
        """What the processes wrote, for a test that failed."""
        files = [self.places.run / f"{name}.txt" for name in ("worker", "agent")]
        return "\n".join(file.read_text()[-6000:] for file in files if file.exists())

    # ------------------------------------------------------------------ the platform's part

    def send(self, command: Command) -> None:
        envelope = sealing.seal(
            encode(command),
            node=NODE,
            node_public_key=sealing.load_node_key(self.places.keys / "node").public_key(),
            signing_key=self.signing_key,
        )
        self.send_envelope(envelope)

    def send_envelope(self, envelope: str) -> None:
        """With the settings docs/architecture.md names for a producer, and no others."""
        if self.app is None:
            self.app = Celery("platform", set_as_current=False)
            self.app.conf.update(
                broker_url=f"redis+socket://{self.redis.socket}",
                broker_transport_options={"global_keyprefix": f"{self.instance}:celery:"},
                task_ignore_result=True,
            )
        name = f"node.{NODE}"
        queue = Queue(name, Exchange(""), routing_key=name)
        self.app.send_task("workers.tasks.execute", [envelope], queue=queue)

    def events(self) -> list[Event]:
        """What the stream holds, each event once; fails when one is missing."""
        found: dict[int, Event] = {}
        with self.redis.client() as client:
            for _, fields in client.xrange(f"slipway:events:{NODE}"):
                found[int(fields["seq"])] = decode_event(fields["event"])
        assert sorted(found) == list(range(1, len(found) + 1)), sorted(found)
        return [found[seq] for seq in sorted(found)]

    def of(self, container: str) -> list[Event]:
        return [event for event in self.events() if getattr(event, "container", None) == container]

    def wait_for(self, kind: type[_Event], **facts: Any) -> _Event:
        def matching() -> list[_Event]:
            events = [event for event in self.events() if isinstance(event, kind)]
            return [event for event in events if all(getattr(event, key) == facts[key] for key in facts)]

        until(lambda: bool(matching()), lambda: f"no {kind.__name__} {facts}\n{self.said()}")
        return matching()[-1]

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection = UnixConnection(self.places.agent_socket)
        connection.timeout = 30
        connection.request(method, path, body)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
        connection.close()
        return status, content

    def upload(self, archive: bytes) -> str:
        status, body = self.request("PUT", "/v1/uploads", archive)
        assert status == 201, body
        return str(json.loads(body)["digest"])

    def lines(self, container: str) -> list[str]:
        """The log once the container has ended; conmon cuts a line where its reading did."""
        status, body = self.request("GET", f"/v1/containers/{container}/logs?follow=1")
        assert status == 200, body
        entries = [json.loads(line) for line in body.splitlines() if line]
        return "".join(entry["l"] + "\n" * entry["f"] for entry in entries).splitlines()

    def import_image(self) -> None:
        job = secrets.token_hex(16)
        self.send(ImportImage(job, SCOPE, self.upload(rootfs()), repository="test", tag="latest"))
        until(lambda: any(isinstance(event, JobSucceeded | JobFailed) for event in self.events()), self.said)
        self.image_id = self.wait_for(ImageImported, job=job).image_id

    @property
    def project(self) -> ProjectSlice:
        """One no other node on this machine has: tests run side by side."""
        subnet = f"10.{100 + self.index % 10}.{self.index // 10 % 100}.0/24"
        return ProjectSlice(f"{self.index:032x}"[::-1], self.index * 65536, subnet)

    def command(self, *args: str, container: str = "", generation: int = 1, run: int = 1) -> RunContainer:
        container = container or secrets.token_hex(32)
        self.made.append(container)
        spec = ContainerSpec(
            self.image_id, SCOPE, "test", "test", command=args, limits=Limits(memory_bytes=64 << 20)
        )
        return RunContainer(container, generation, run, self.project, spec)

    def run(self, *args: str) -> str:
        command = self.command(*args)
        self.send(command)
        self.wait_for(ContainerStarted, container=command.container)
        return command.container

    def exit_of(self, container: str) -> ContainerExited:
        return self.wait_for(ContainerExited, container=container)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        for process in (self.worker, self.agent):
            if process is not None:
                process.terminate()
                process.wait(30)
        if self.app is not None:
            self.app.close()
        engine = open_engine(self.places, instance=self.instance)
        for container in set(self.made):
            containers.remove(engine, RemoveContainer(container, 1 << 62), lambda event: None)
        teardown(engine)
        self.redis.kill()
        cgroups.remove(self.instance)
        if self.places.data.is_mount():
            subprocess.run(["umount", str(self.places.data)], check=True)
        shutil.rmtree(self.places.data.parent)


@contextmanager
def running_node() -> Iterator[NodeUnderTest]:
    """With agent, worker and an image."""
    node = open_node_under_test()
    try:
        node.start_agent()
        node.start_worker()
        node.import_image()
        yield node
    finally:
        node.close()


def open_node_under_test(*, disk: Path | None = None) -> NodeUnderTest:
    """Redis runs, keys are exchanged; worker and agent are not started. ``disk``: an image for the data."""
    directory = scratch()
    places = Places(directory / "data", directory / "run")
    if disk is not None:
        places.data.mkdir(mode=0o711)
        subprocess.run(["mount", "-o", "loop,nosuid,nodev", str(disk), str(places.data)], check=True)
    places.prepare()
    redis = PrivateRedis(places.run / "redis.sock")
    redis.start()
    name = instance()
    signing_key = Ed25519PrivateKey.generate()
    sealing.ensure_node_key(places.keys / "node")
    sealing.store_platform_key(places.keys / "platform", signing_key.public_key())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")},
        "SLIPWAY_DATA": str(places.data),
        "SLIPWAY_RUN": str(places.run),
        "SLIPWAY_NODE": NODE,
        "SLIPWAY_INSTANCE": name,
        "SLIPWAY_LOG": "console",
    }
    index = 42_000 + secrets.randbelow(1000)
    return NodeUnderTest(name, places, redis, environment, signing_key, index)
