"""The containers of this node, as the agent sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workers.engine import bundles, containers, records
from workers.engine.host import Emit, Engine
from workers.engine.records import Phase, Record
from workers.engine.runtime.process import Process
from workers.errors import NoSuchContainer
from workers.messages import ContainerFacts


@dataclass(frozen=True)
class Usage:
    cpu_ns: int
    memory_bytes: int
    memory_limit: int
    pids: int


class Containers(Protocol):
    """Every method may block for a while and is safe to call from any thread."""

    def recover(self) -> None:
        """Bring every record to a true state."""

    def settle(self, container: str) -> bool:
        """Record an exit and clean up. Repeatable. False: it still runs. Raise ``NoSuchContainer``."""

    def running(self) -> dict[str, Process]:
        """The first process of every running container."""

    def init(self, container: str) -> Process | None:
        """None unless the container runs."""

    def inventory(self) -> tuple[ContainerFacts, ...]: ...

    def kill(self, container: str, signal: int) -> None:
        """Raise ``NoSuchContainer``, ``NotRunning``."""

    def usage(self, container: str) -> Usage:
        """Raise ``NoSuchContainer``, ``NotRunning``."""

    def log_directory(self, container: str) -> Path:
        """Raise ``NoSuchContainer`` when nothing of it is left, not even its log."""

    def may_write(self, container: str) -> bool:
        """True while the container runs or is being started, so that its log may grow."""

    def until_recorded(self, container: str) -> None:
        """Return when what was journaled of it is on record as well: the one follows the other."""

    def rotate_logs(self) -> None:
        """Close the segments that are full."""


class NodeContainers:
    """The real ones. Events go to ``emit``."""

    def __init__(self, engine: Engine, emit: Emit) -> None:
        self._engine, self._emit = engine, emit
        self._places = engine.places

    def recover(self) -> None:
        containers.recover(self._engine, self._emit)

    def settle(self, container: str) -> bool:
        return containers.settle(self._engine, container, self._emit)

    def running(self) -> dict[str, Process]:
        return {each.container: each.process for each in containers.running(self._engine)}

    def init(self, container: str) -> Process | None:
        record = records.find(self._places, container)
        if record is None or record.lost or record.phase is not Phase.RUNNING:
            return None
        return record.init

    def inventory(self) -> tuple[ContainerFacts, ...]:
        return containers.inventory(self._engine)

    def kill(self, container: str, signal: int) -> None:
        containers.kill(self._engine, container, signal)

    def usage(self, container: str) -> Usage:
        usage = containers.usage(self._engine, container)
        command = self._record(container).command
        limit = command.spec.limits.memory_bytes if command else 0
        return Usage(usage.cpu_ns, usage.memory_bytes, limit, usage.pids)

    def log_directory(self, container: str) -> Path:
        directory = self._places.log_directory(container)
        if not directory.exists():
            self._record(container)
        return directory

    def may_write(self, container: str) -> bool:
        record = records.find(self._places, container)
        return record is not None and not record.lost and record.phase in (Phase.STARTING, Phase.RUNNING)

    def until_recorded(self, container: str) -> None:
        if records.find(self._places, container) is not None:
            with records.locked(self._places, container):
                pass

    def rotate_logs(self) -> None:
        # Every bundle instead of every record: this is asked twice a second.
        for container in bundles.containers(self._places):
            containers.rotate_log(self._engine, container)

    def _record(self, container: str) -> Record:
        record = records.find(self._places, container)
        if record is None:
            raise NoSuchContainer(f"Container {container} is not on this node", container=container)
        return record
