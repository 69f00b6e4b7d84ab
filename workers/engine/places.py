"""Where everything of a node lies: the only module that knows the tree of docs/architecture.md."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from workers.errors import BadCommand

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Places:
    """Paths below the instance's data and run directories (``SLIPWAY_DATA``, ``SLIPWAY_RUN``).

    Pure: nothing is looked up or made, except by ``prepare``. Ids become path components, so an id
    that could leave its directory raises ``BadCommand``.
    """

    data: Path
    run: Path

    def prepare(self) -> None:
        """Make the node's directories with their modes; safe to repeat, repairs wrong modes.

        The data side is closed to everybody but root: a layer full of setuid files must stay out of
        reach. The run side is traversable, because a container's root (nobody on the node) walks it
        to its rootfs.
        """
        for path in (self.data, self.run):
            path.mkdir(parents=True, exist_ok=True)
            os.chmod(path, 0o711)  # noqa: S103 - see above: traversable, not readable
        closed = (self.node, self.keys, self.content, self.layers, self.layer_ingest, self.all_layer_notes,
                  self.images, self.snapshots, self.records, self.logs, self.jobs, self.job_logs,
                  self.uploads, self.contexts, self.dropped_projects, *self.build_places)  # fmt: skip
        for path in closed:
            _directory(path, 0o700)
        for path in (self.layers / "sha256", self.all_layer_notes / "sha256"):
            _directory(path, 0o700)
        for path in (self.node_run, self.namespaces, self.bundles, self.build_bundles):
            _directory(path, 0o711)
        _directory(self.fetches, 0o711)
        for path in (self.exits, self.addresses):
            _directory(path, 0o700)

    # ------------------------------------------------------------------ data: kept

    @property
    def node(self) -> Path:
        return self.data / "node"

    @property
    def keys(self) -> Path:
        return self.node / "keys"

    @property
    def content(self) -> Path:
        """Root of ``workers.content.DirectoryContent``."""
        return self.node / "content"

    @property
    def layers(self) -> Path:
        return self.node / "layers"

    @property
    def layer_ingest(self) -> Path:
        """Layers being unpacked; whatever lies here without its lease is rubbish."""
        return self.layers / "ingest"

    def layer(self, diff_id: str) -> Path:
        """``diff_id`` with its algorithm, as in ``LayerFacts``."""
        algorithm, _, digits = diff_id.partition(":")
        return self.layers / _component(algorithm) / _component(digits)

    @property
    def all_layer_notes(self) -> Path:
        return self.layers / "notes"

    def layer_notes(self, diff_id: str) -> Path:
        """What a layer's directory cannot hold: how its tar was made, what it compressed to."""
        algorithm, _, digits = diff_id.partition(":")
        return self.all_layer_notes / _component(algorithm) / _component(digits)

    @property
    def images(self) -> Path:
        return self.node / "images"

    def grants(self, scope: str) -> Path:
        return self.images / _component(scope)

    def grant(self, scope: str, image_id: str) -> Path:
        """What entitles ``scope`` to the layers of ``image_id`` (a config digest)."""
        return self.grants(scope) / f"{_component(image_id.partition(':')[2])}.json"

    @property
    def dropped_projects(self) -> Path:
        """A file per deleted project, for as long as a late command for it may come."""
        return self.node / "dropped-projects"

    def dropped_project(self, project: str) -> Path:
        return self.dropped_projects / _component(project)

    @property
    def snapshots(self) -> Path:
        return self.node / "snapshots"

    def snapshot(self, container: str) -> Path:
        """Holds ``rw/upper`` and ``rw/work``."""
        return self.snapshots / _component(container)

    @property
    def records(self) -> Path:
        return self.node / "containers"

    def record_directory(self, container: str) -> Path:
        return self.records / _component(container)

    def record(self, container: str) -> Path:
        return self.record_directory(container) / "record.json"

    def lock(self, container: str) -> Path:
        return self.record_directory(container) / "lock"

    @property
    def logs(self) -> Path:
        return self.node / "logs"

    def log_directory(self, container: str) -> Path:
        return self.logs / _component(container)

    def active_log(self, container: str) -> Path:
        return self.log_directory(container) / "active.log"

    @property
    def journal(self) -> Path:
        return self.node / "journal.sqlite3"

    @property
    def jobs(self) -> Path:
        return self.node / "jobs"

    def job(self, job: str) -> Path:
        """The accepted command of a job until it has ended, then its outcome."""
        return self.jobs / _component(job)

    @property
    def job_logs(self) -> Path:
        return self.node / "job-logs"

    def job_log(self, job: str) -> Path:
        """What the job wrote, in segments as a container's log (``workers.engine.logwriting``)."""
        return self.job_logs / _component(job)

    @property
    def contexts(self) -> Path:
        return self.node / "contexts"

    @property
    def uploads(self) -> Path:
        """A directory per uploaded blob, a file in it per job that still wants the blob."""
        return self.node / "uploads"

    @property
    def builds(self) -> Path:
        return self.node / "builds"

    @property
    def build_places(self) -> tuple[Path, ...]:
        return (self.builds, self.build_snapshots, self.build_mounts, self.build_work, self.build_doomed,
                self.build_logs, self.build_records)  # fmt: skip

    @property
    def build_cache(self) -> Path:
        """What is in the cache: a SQLite file (``workers.engine.build.cache``)."""
        return self.builds / "cache.sqlite3"

    @property
    def build_snapshots(self) -> Path:
        return self.builds / "snapshots"

    def build_snapshot(self, project: str, key: str) -> Path:
        """The upper of a step until it becomes a layer."""
        return self.build_snapshots / _component(project) / _component(key)

    @property
    def build_mounts(self) -> Path:
        return self.builds / "mounts"

    def build_mount(self, project: str, name: str) -> Path:
        """A cache mount: ``data``, and copies of it for those who share it with nobody."""
        return self.build_mounts / _component(project) / _component(name)

    @property
    def build_work(self) -> Path:
        """A directory per running attempt, locked by it; whatever lies here unlocked is rubbish."""
        return self.builds / "work"

    @property
    def build_doomed(self) -> Path:
        """What is being removed: nobody looks for it any more, somebody may still read it."""
        return self.builds / "doomed"

    @property
    def fetches(self) -> Path:
        """Where git works, as nobody of the node: outside of what only root may enter."""
        return self.data / "fetch"

    @property
    def build_logs(self) -> Path:
        return self.builds / "logs"

    def build_log(self, build: str) -> Path:
        """What the build's steps wrote (``workers.engine.logwriting``)."""
        return self.build_logs / _component(build)

    @property
    def build_records(self) -> Path:
        return self.builds / "records"

    def build_record(self, build: str) -> Path:
        """The highest attempt of a build that was begun here, and the uploads it wants."""
        return self.build_records / _component(build)

    # ------------------------------------------------------------------ run: gone after a reboot

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"

    @property
    def journal_poke(self) -> Path:
        """Unix datagram socket of the agent: a datagram says that the journal grew."""
        return self.run / "journal.poke"

    @property
    def node_run(self) -> Path:
        return self.run / "node"

    @property
    def job_key(self) -> Path:
        """What commands of jobs are sealed with while they lie on the disk."""
        return self.node_run / "jobs.key"

    @property
    def namespaces(self) -> Path:
        return self.node_run / "userns"

    def namespace(self, uid_base: int) -> Path:
        """The bind-mounted user namespace of the range that starts at ``uid_base``."""
        return self.namespaces / str(uid_base)

    @property
    def bundles(self) -> Path:
        return self.node_run / "containers"

    @property
    def build_bundles(self) -> Path:
        return self.node_run / "builds"

    def bundle(self, container: str) -> Path:
        return self.bundles / _component(container)

    def config(self, container: str) -> Path:
        return self.bundle(container) / "config.json"

    def rootfs(self, container: str) -> Path:
        """The mountpoint a container's snapshot is mounted on."""
        return self.bundle(container) / "rootfs"

    def pidfile(self, container: str) -> Path:
        return self.bundle(container) / "pidfile"

    def runtime_state(self, runtime: str) -> Path:
        """The runtime's own records of our containers (its ``--root``)."""
        return self.node_run / "runtime" / _component(runtime)

    @property
    def runtime_finding(self) -> Path:
        """Which runtimes were seen to work on this node, and why others were not."""
        return self.node_run / "runtime.json"

    @property
    def exits(self) -> Path:
        return self.node_run / "exits"

    def exit(self, container: str) -> Path:
        """Written by conmon: the exit code as decimal text."""
        return self.exits / _component(container)

    @property
    def addresses(self) -> Path:
        return self.node_run / "addresses"

    def leases(self, project: str) -> Path:
        return self.addresses / _component(project)

    def lease(self, project: str, address: str) -> Path:
        """Held by the container whose id is the file's content."""
        return self.leases(project) / _component(address)


@dataclass(frozen=True)
class BuildPlaces(Places):
    """The same tree, with the bundles of builds' steps in the place of containers': nobody who looks after
    containers looks there."""

    @property
    def bundles(self) -> Path:
        return self.build_bundles


def _directory(path: Path, mode: int) -> None:
    path.mkdir(mode=mode, exist_ok=True)
    os.chmod(path, mode)  # mkdir's mode went through the umask, and an older start may have differed


def _component(text: str) -> str:
    if not _COMPONENT.fullmatch(text):
        raise BadCommand(f"{text[:80]!r} is no id: letters, digits, '_', '.', '-' were expected")
    return text
