"""From an envelope to the engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import structlog

from workers import crash, sealing
from workers.app import STARTS, STOPS
from workers.engine import projects
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.errors import BadCommand, NodeError, SlipwayError
from workers.messages import (
    BakeImage,
    BuildDropped,
    BuildImage,
    CancelJob,
    Command,
    DropBuild,
    DropLogs,
    DropProject,
    ImportImage,
    ProjectDropped,
    PruneBuildCache,
    PullImage,
    PushImage,
    RemoveContainer,
    RemoveImage,
    RunContainer,
    StopContainer,
    decode_command,
)
from workers.node import Node
from workers.tasks import builds, containers, images
from workers.tasks.failures import failure_of
from workers.tasks.jobfiles import JobCommand
from workers.tasks.jobs import Check, Jobs, Work

STOP_AGAIN = 0.5
TROUBLE_AGAIN = 5.0

log = structlog.get_logger(__name__)


def work(node: Node, made: builds.Builds) -> Work:
    """What jobs of every kind do."""

    def perform(command: JobCommand, emit: Emit, check: Check, written: LogWriter) -> None:
        if isinstance(command, BuildImage):
            made.perform(command, emit, check, written)
        elif isinstance(command, PruneBuildCache):
            made.prune(command, emit)
        else:
            images.perform(node, command, emit, check, written)

    def tidy(command: JobCommand) -> None:
        if isinstance(command, BuildImage):
            made.tidy(command)
        elif isinstance(command, PruneBuildCache):
            pass  # nothing was there for it alone
        else:
            images.tidy(node, command)

    return Work(perform, tidy)


class Later(Exception):
    """The command is to be carried out again after ``seconds``; nothing is lost meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:g} s")
        self.seconds = seconds


@dataclass
class Executor:
    """Safe to share between the worker's threads."""

    node: Node
    jobs: Jobs
    builds: builds.Builds | None = None
    _starts: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(STARTS))
    _stops: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(STOPS))

    @classmethod
    def open(cls, node: Node) -> Executor:
        """Try the keys and take up jobs that an earlier worker left. Raise ``NodeError``."""
        sealing.load_node_key(node.places.keys / "node")
        sealing.load_platform_key(node.places.keys / "platform")
        made = builds.Builds(node)
        made.recover()
        jobs = Jobs(node.places, node.emit, work(node, made), builds=node.environment.build_slots)
        jobs.resume()
        return cls(node, jobs, made)

    def execute(self, envelope: str) -> None:
        """Raise ``BadCommand`` when it is not for us, ``Later`` when it cannot be carried out now."""
        command = decode_command(self._open(envelope))
        crash.point("task.received")
        self.perform(command)
        crash.point("task.before_ack")

    def _open(self, envelope: str) -> str:
        # Read anew for each command: keys are rotated while the worker runs.
        keys = self.node.places.keys
        try:
            node_keys = sealing.load_node_keys(keys / "node")
            platform_keys = sealing.load_platform_keys(keys / "platform")
        except NodeError as error:
            log.error("keys_unusable", error=error.message)
            raise Later(TROUBLE_AGAIN) from error
        return sealing.open_with(
            envelope, node=self.node.name, node_keys=node_keys, platform_keys=platform_keys
        )

    def perform(self, command: Command) -> None:
        """As ``execute``."""
        try:
            self._perform(command)
        except (BadCommand, Later):
            raise
        except SlipwayError as error:
            # The journal's disk is full, a container survives SIGKILL: the operator can help.
            log.error("command_failed", kind=type(command).__name__, code=error.code, error=error.message)
            raise Later(TROUBLE_AGAIN) from error
        except Exception as error:
            failure_of(error, doing=type(command).__name__)
            raise Later(TROUBLE_AGAIN) from error

    def _perform(self, command: Command) -> None:
        match command:
            case ImportImage() | BakeImage() | RemoveImage() | PullImage() | PushImage():
                self.jobs.submit(command)
            case BuildImage() | PruneBuildCache():
                self.jobs.submit(command)
            case DropBuild():
                self._drop(command)
            case DropProject():
                self._drop_project(command)
            case CancelJob():
                self.jobs.cancel(command.job)
            case StopContainer():
                self._stop(command)
            case RunContainer() | RemoveContainer() | DropLogs():
                with self._starts:
                    containers.perform(self.node, command)

    def _drop(self, command: DropBuild) -> None:
        if self.builds is None or not self.builds.drop(command):
            raise Later(TROUBLE_AGAIN)
        self.node.emit(BuildDropped(command.build))

    def _drop_project(self, command: DropProject) -> None:
        projects.drop(self.node.engine, command.project)
        if self.builds is not None:
            self.builds.drop_project(command.project.id)
        self.node.contexts.forget(command.project.id)
        self.node.emit(ProjectDropped(command.project.id))

    def _stop(self, command: StopContainer) -> None:
        """However many containers are being stopped, threads are left for starts."""
        if not self._stops.acquire(blocking=False):
            raise Later(STOP_AGAIN)
        try:
            containers.perform(self.node, command)
        finally:
            self._stops.release()
