"""The engine alone, in this process: what a node's worker does for one container, start to clean-up."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.engine import containers
from workers.engine.host import Engine, open_engine, teardown
from workers.engine.importing import import_archive
from workers.engine.places import Places
from workers.journal import Journal
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerSpec,
    DropLogs,
    Event,
    Limits,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
)

SCOPE = "be" * 16
PROJECTS = {
    "crun": ProjectSlice(id=SCOPE, uid_base=900_000_000, subnet="10.89.7.0/24"),
    "runc": ProjectSlice(id="bf" * 16, uid_base=901_000_000, subnet="10.89.8.0/24"),
}
"""One for each runtime: two instances on one machine share no range."""


@dataclass(frozen=True)
class Launcher:
    """Runs containers to their end on one OCI runtime, journaling as in production."""

    engine: Engine
    journal: Journal
    image_id: str
    project: ProjectSlice

    def emit(self, event: Event) -> None:
        """Journal it; a container that did not end well is no launch to measure."""
        self.journal.append(event)
        if isinstance(event, ContainerFailed) or (
            isinstance(event, ContainerExited) and event.exit_code != 0
        ):
            raise RuntimeError(f"The container did not end well: {event}")

    def run(self, *argv: str) -> None:
        """Create, start, wait for the exit, settle, remove: nothing of the container is left."""
        container = secrets.token_hex(32)
        spec = ContainerSpec(
            image_id=self.image_id,
            image_scope=SCOPE,
            name="bench",
            hostname="bench",
            command=argv,
            limits=Limits(),
        )
        containers.run(self.engine, RunContainer(container, 1, 1, self.project, spec), self.emit)
        containers.wait(self.engine, container)
        containers.settle(self.engine, container, self.emit)
        containers.remove(self.engine, RemoveContainer(container, 2), self.emit)
        containers.drop_logs(self.engine, DropLogs(container))


@contextmanager
def launcher(directory: Path, rootfs: Path, runtime: str) -> Iterator[Launcher]:
    """An instance of its own; networks and control groups go at the end, the directory is the caller's."""
    places = Places(data=directory / "data", run=directory / "run")
    engine = open_engine(places, instance=f"swbench-{runtime}", runtime=runtime)
    with rootfs.open("rb") as archive:
        imported = import_archive(engine.images, archive, scope=SCOPE)
    try:
        yield Launcher(
            engine, Journal(places.journal, places.journal_poke), imported.image_id, PROJECTS[runtime]
        )
    finally:
        teardown(engine)
