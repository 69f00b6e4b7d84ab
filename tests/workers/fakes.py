"""Containers that exist only in a test: what supervisor and streams need of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workers.agent.containers import Usage
from workers.engine.runtime.process import Process
from workers.errors import NoSuchContainer, NotRunning
from workers.messages import ContainerFacts


@dataclass
class FakeContainers:
    """Runs nothing: a container is a process of the test, or only a name."""

    logs: Path
    inits: dict[str, Process | None] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    killed: list[tuple[str, int]] = field(default_factory=list)
    recovered: int = 0
    on_settle: Callable[[str], bool] = lambda _: True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def recover(self) -> None:
        self.recovered += 1

    def settle(self, container: str) -> bool:
        ended = self.on_settle(container)
        with self.lock:
            self.settled.append(container)
            if ended:
                self.inits[container] = None
        return ended

    def running(self) -> dict[str, Process]:
        return {container: init for container, init in self.inits.items() if init is not None}

    def init(self, container: str) -> Process | None:
        return self.inits.get(container)

    def inventory(self) -> tuple[ContainerFacts, ...]:
        return ()

    def kill(self, container: str, signal: int) -> None:
        self._need(container)
        if self.inits[container] is None:
            raise NotRunning(f"Container {container} is not running")
        self.killed.append((container, signal))

    def usage(self, container: str) -> Usage:
        self._need(container)
        return Usage(1, 2, 3, 4)

    def log_directory(self, container: str) -> Path:
        self._need(container)
        return self.logs / container

    def may_write(self, container: str) -> bool:
        return self.inits.get(container) is not None

    def until_recorded(self, container: str) -> None:
        """There is no record."""

    def rotate_logs(self) -> None:
        """There is no shim."""

    def _need(self, container: str) -> None:
        if container not in self.inits:
            raise NoSuchContainer(f"No container {container}", container=container)
