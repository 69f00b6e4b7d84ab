"""The whole process set, as `make up` runs it: containers by REST, and what everything costs in memory."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks import memory
from stack import pidfiles
from tests import stacks
from tests.rest import Rest, until

PROCESSES = ("redis", "web", "observer", "worker", "agent")
SETTLE_SECONDS = 5.0
START_SECONDS = 60.0


class ProcessSet:
    def __init__(self, running: stacks.RunningStack) -> None:
        self._running = running
        self._numbers = itertools.count(1)
        address = urlsplit(running.url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)

    def run(self, *argv: str) -> None:
        """Create and start one container and wait until its exit is seen, as a client would."""
        name = f"bench-{next(self._numbers)}"
        body = {"name": name, "image": "busybox", "command": list(argv)}
        self._call("POST", "", body)
        done = self._call("GET", f"/{name}/wait?condition=not-running&timeout=60")
        if done["container"]["exit_code"] != 0:
            raise RuntimeError(f"The container did not end well: {done}")

    def idle(self) -> dict[str, float]:
        """MiB of each process once everything has come to rest."""
        time.sleep(SETTLE_SECONDS)
        return {name: _mib(memory.pss(pid)) for name, pid in self._pids().items()}

    def per_container(self, count: int) -> dict[str, float]:
        """KiB for each of ``count`` running containers: its shim, and by how much our processes grew."""
        before = memory.total(self._pids().values())
        names = [f"sleeper-{number}" for number in range(count)]
        for name in names:
            self._call("POST", "", {"name": name, "image": "busybox", "command": ["sleep", "600"]})
        rest = Rest(self._running.url, self._running.token, self._running.project)
        for name in names:
            rest.wait(name, "running", START_SECONDS)
        time.sleep(SETTLE_SECONDS)
        shims = memory.processes("conmon", str(self._running.run))
        grown = memory.total(self._pids().values()) - before
        found = {
            "containers": count,
            "shim": round(memory.total(shims) / count / 1024, 1),
            "processes": round(grown / count / 1024, 1),
        }
        for name in names:
            self._call("DELETE", f"/{name}?force=true")
        until(lambda: True if not memory.processes("conmon", str(self._running.run)) else None, 60, "shims")
        return found

    def _pids(self) -> dict[str, int]:
        found = {name: pidfiles.read(self._running.run / "pids" / name) for name in PROCESSES}
        return {name: pid for name, pid in found.items() if pid is not None}

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        address = f"/api/v1/projects/{self._running.project}/containers{path}"
        headers = {"Authorization": f"Bearer {self._running.token}", "Content-Type": "application/json"}
        self._connection.close()  # idle ones are cut; the next request opens a new one
        self._connection.request(method, address, json.dumps(body) if body else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {address}: {answer.status} {text.decode()}")
        return json.loads(text) if text else None


@contextmanager
def running() -> Iterator[ProcessSet]:
    """A set of its own, stopped and dropped at the end."""
    found = stacks.start()
    try:
        yield ProcessSet(found)
    finally:
        found.stop()


def _mib(size: int) -> float:
    return round(size / (1 << 20), 1)
