"""What the node knows of each container: ``record.json``, and the lock that guards its changes.

A record is written aside and renamed, so a reader without the lock sees the old or the new one.
It is not synced (docs/adr/0017-records-are-not-synced.md): a process that dies loses nothing, and
after a power loss no container runs any more. A record torn by one reads as missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from workers.content import full_disk
from workers.engine.places import Places
from workers.engine.runtime.process import Process, boot_id
from workers.errors import BadCommand
from workers.messages import Failure, RunContainer, decode_command, encode

_Part = TypeVar("_Part")


class Phase(StrEnum):
    STARTING = "starting"
    """Somebody who holds the lock is starting it; without a holder, a start that was cut off."""
    RUNNING = "running"
    """Created by the runtime; also started, and that journaled, once ``Record.announced``."""
    EXITED = "exited"
    CREATED = "created"
    """The last start failed, or none was tried."""
    REMOVED = "removed"
    """A tombstone: late commands must not bring it back. Goes with its logs."""


@dataclass(frozen=True)
class Outcome:
    """How the last run, or the last attempt at one, ended."""

    exit_code: int | None
    oom_killed: bool
    finished_at: float
    cause: Failure | None = None


@dataclass(frozen=True)
class Stopping:
    """A stop under way: the signal was sent, SIGKILL is due ``deadline``.

    In seconds of the machine's monotonic clock, which all processes of a boot share: a clock that is set
    back must not keep a container alive for as long.
    """

    generation: int
    deadline: float


@dataclass(frozen=True)
class Record:
    container: str
    phase: Phase
    generation: int
    """The highest one carried out. A start under way has not been: see ``command.generation``."""
    run: int = 0
    command: RunContainer | None = None
    """What it was last started with; None in a tombstone of a container never started here."""
    boot: str = ""
    runtime: str = ""
    cgroup: str = ""
    address: str = ""
    init: Process | None = None
    shim: Process | None = None
    started_at: float = 0.0
    stop_signal: int = signal.SIGTERM
    """The request's, else the image's, else SIGTERM."""
    stopping: Stopping | None = None
    outcome: Outcome | None = None
    removed_from: str = ""
    """Of a tombstone: the project, if its container was ever started here."""

    @property
    def project(self) -> str:
        return self.removed_from if self.command is None else self.command.project.id

    @property
    def pid(self) -> int:
        """Of the container's init; 0 when none is known."""
        return 0 if self.init is None else self.init.pid

    @property
    def intended(self) -> int:
        """The generation its last start carries out."""
        return self.generation if self.command is None else self.command.generation

    @property
    def announced(self) -> bool:
        """The last start was carried out to its end, and journaled."""
        return self.generation >= self.intended

    def covers(self, generation: int) -> bool:
        """A command of this generation changes nothing any more."""
        return self.phase is Phase.REMOVED or generation <= self.generation

    @property
    def lost(self) -> bool:
        """Of an earlier boot: nothing it names exists any more, its pids are others'."""
        return self.boot != boot_id()


def dump(record: Record) -> str:
    fields = asdict(replace(record, command=None))
    fields["command"] = None if record.command is None else encode(record.command)
    return json.dumps(fields, separators=(",", ":"))


def parse(text: str) -> Record:
    """Raise ``ValueError`` when the text is no record."""
    try:
        fields: dict[str, Any] = json.loads(text)
        command = None if fields["command"] is None else decode_command(fields["command"])
        if command is not None and not isinstance(command, RunContainer):
            raise ValueError(f"a RunContainer was expected, not {type(command).__name__}")
        outcome = _part(Outcome, fields["outcome"])
        if outcome is not None:
            outcome = replace(outcome, cause=_part(Failure, fields["outcome"]["cause"]))
        parts = {
            "phase": Phase(fields["phase"]),
            "command": command,
            "init": _part(Process, fields["init"]),
            "shim": _part(Process, fields["shim"]),
            "stopping": _part(Stopping, fields["stopping"]),
            "outcome": outcome,
        }
        return Record(**{**fields, **parts})
    except (KeyError, TypeError, BadCommand) as error:
        raise ValueError(f"record not understood: {error}") from error


def _part(cls: type[_Part], fields: dict[str, Any] | None) -> _Part | None:
    return None if fields is None else cls(**fields)


def find(places: Places, container: str) -> Record | None:
    """None when the container has no record, or one torn by a power loss."""
    try:
        with open(places.record(container), encoding="utf-8") as file:
            return parse(file.read())
    except (FileNotFoundError, ValueError):
        return None


def write(places: Places, record: Record) -> None:
    """Needs the container's lock. Raise ``NoSpace``; the record before stands then."""
    path = os.fspath(places.record(record.container))
    aside = path + ".new"
    with full_disk(places.record(record.container)):
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, dump(record).encode())
        finally:
            os.close(fd)
    os.rename(aside, path)


def _write_all(fd: int, data: bytes) -> None:
    """A disk that is almost full takes a part, and says so only when it is asked for the rest."""
    while data:
        data = data[os.write(fd, data) :]


def forget(places: Places, container: str) -> None:
    """Remove record and lock; needs the lock. Safe to repeat."""
    for path in (places.record(container), places.lock(container)):
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        places.record_directory(container).rmdir()


def containers(places: Places) -> list[str]:
    """Every container with a record directory, tombstones included."""
    return sorted(entry.name for entry in os.scandir(places.records) if entry.is_dir(follow_symlinks=False))


@contextmanager
def locked(places: Places, container: str) -> Iterator[None]:
    """Hold the container's lock: one holder among all threads and processes of the node.

    The kernel frees it when the holder dies. Raise ``NoSpace`` when it cannot even be made.
    """
    with full_disk(places.lock(container)):
        fd = _lock(places, container)
    try:
        yield
    finally:
        os.close(fd)


def _lock(places: Places, container: str) -> int:
    path = places.lock(container)
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # ``forget`` may have unlinked the file while we waited: then it guards nothing.
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
