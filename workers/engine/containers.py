"""The lifecycle of containers: run, stop, remove, kill, settle, recover.

Every change happens under the container's lock, in this order: do it, journal the event, put it on
record. Whoever is killed in between leaves a record that says less than was done; the next holder
of the lock looks (``_mended``) and goes on from there. So an event may be journaled twice, with the
same generation and run, but never be lost.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace

from workers import crash
from workers.engine import announcements, bundles, launching, logs, records, snapshots
from workers.engine.cgroups import Usage
from workers.engine.host import Emit, Engine
from workers.engine.records import Outcome, Phase, Record, Stopping
from workers.engine.runtime import conmon, oci, process
from workers.engine.runtime.process import Process
from workers.errors import NoSuchContainer, NotRunning, RuntimeFailed
from workers.messages import (
    ContainerFacts,
    DropLogs,
    Failure,
    RemoveContainer,
    RunContainer,
    StopContainer,
)

_KILL_TIMEOUT = 10.0
_EXIT_FILE_TIMEOUT = 10.0
_SIGKILL_STATUS = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Running:
    """What the agent must watch. ``process`` is the container's init: open it by
    ``runtime.process.open_process``, which no recycled pid can fool."""

    container: str
    run: int
    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid


# --------------------------------------------------------------------------- commands


def run(engine: Engine, command: RunContainer, emit: Emit) -> None:
    """Make the container run, once per generation: ``ContainerStarted``, or ``ContainerFailed`` and
    nothing of the attempt is left but the container's writable layer. Waits for a stop under way."""
    while (stopping := _try_run(engine, command, emit)) is not None:
        _await_end(stopping)


def _try_run(engine: Engine, command: RunContainer, emit: Emit) -> Record | None:
    """None when it was carried out; the record when the container is being stopped."""
    with records.locked(engine.places, command.container):
        record = _mended(engine, command.container, emit)
        if record is not None and record.covers(command.generation):
            emit(announcements.event(record))
            return None
        if record is not None:
            record = _settled(engine, record, emit)
        if record is None or record.phase is not Phase.RUNNING:
            _start(engine, command, record, emit)
            return None
        if record.stopping is None:  # it runs as wished
            _carried_out(engine, replace(record, generation=command.generation), emit)
            return None
        return record


def stop(engine: Engine, command: StopContainer, emit: Emit) -> None:
    """Signal, wait, SIGKILL after the timeout: ``ContainerExited`` with this generation.

    The lock is not held while waiting: a kill or a removal comes through. A container that does not
    run settles to how it last ended.
    """
    record = _begin_stop(engine, command, emit)
    if record is None:
        return
    _await_end(record)
    crash.point("stop.after_end")
    with records.locked(engine.places, command.container):
        latest = records.find(engine.places, command.container)
        if latest is None or latest.covers(command.generation):
            return  # removed, or started anew, while this waited
        latest = replace(latest, generation=command.generation)
        if latest.phase is Phase.RUNNING and latest.run == record.run:
            _ended(engine, latest, emit)
        else:
            _carried_out(engine, latest, emit)


def _begin_stop(engine: Engine, command: StopContainer, emit: Emit) -> Record | None:
    """The record of a container that was sent its signal; None when there is nothing to stop."""
    with records.locked(engine.places, command.container):
        record = _mended(engine, command.container, emit)
        if record is not None and record.covers(command.generation):
            emit(announcements.event(record))
            return None
        if record is None:
            record = Record(command.container, Phase.CREATED, 0)
        record = _settled(engine, record, emit)
        if record.phase is not Phase.RUNNING:
            _carried_out(engine, replace(record, generation=command.generation), emit)
            return None
        deadline = time.monotonic() + max(0.0, command.timeout)
        record = replace(record, stopping=Stopping(command.generation, deadline))
        records.write(engine.places, record)
        crash.point("stop.before_signal")
        _signal(record, record.stop_signal)
        return record


def remove(engine: Engine, command: RemoveContainer, emit: Emit) -> None:
    """Kill it if it runs, drop snapshot and bundle: ``ContainerRemoved``. The log stays.

    The record becomes a tombstone, so that no late command brings the container back.
    """
    places, container = engine.places, command.container
    with records.locked(places, container):
        record = _mended(engine, container, emit)
        if record is not None and record.covers(command.generation):
            emit(announcements.event(record))
            return
        if record is not None and record.phase is Phase.RUNNING:
            _await_end(replace(record, stopping=Stopping(command.generation, 0)))
            _ended(engine, record, emit)
        elif record is not None:
            launching.clean_up(engine, record)
        crash.point("remove.before_snapshot")
        snapshots.remove(engine.kernel, places, container)
        crash.point("remove.after_snapshot")
        last_run = 0 if record is None else record.run
        project = "" if record is None else record.project
        tombstone = Record(container, Phase.REMOVED, command.generation, last_run, removed_from=project)
        _carried_out(engine, tombstone, emit)


def drop_logs(engine: Engine, command: DropLogs) -> None:
    """Remove the log; of a removed container, the tombstone too. Repeatable."""
    with records.locked(engine.places, command.container):
        logs.drop(engine.places.log_directory(command.container))
        record = records.find(engine.places, command.container)
        if record is None or record.phase is Phase.REMOVED:
            records.forget(engine.places, command.container)


def kill(engine: Engine, container: str, number: int) -> None:
    """Send a signal to the container's init. Raise ``NoSuchContainer`` or ``NotRunning``.

    As the first process of its namespace it ignores what it does not handle, SIGKILL excepted.
    """
    if not _signal(_running(engine, container), number):
        raise NotRunning(f"Container {container} is not running", container=container)


# --------------------------------------------------------------------------- watching


def settle(engine: Engine, container: str, emit: Emit) -> bool:
    """If the container has ended: journal how, put it on record, clean up. False while it runs."""
    with records.locked(engine.places, container):
        record = _mended(engine, container, emit)
        return record is None or _settled(engine, record, emit).phase is not Phase.RUNNING


def recover(engine: Engine, emit: Emit) -> None:
    """After a restart or a reboot: bring every record to a true state and finish every clean-up.

    Containers that are being changed by others are waited for; safe to run beside them.
    """
    known = set(records.containers(engine.places))
    for container in sorted(known | set(bundles.containers(engine.places))):
        with records.locked(engine.places, container):
            record = _mended(engine, container, emit)
            if record is None:  # its record was torn by a power loss: nothing of it can be alive
                oci.forget(engine.places, container)
                snapshots.unmount(engine.kernel, engine.places, container)
                bundles.remove(engine.kernel, engine.places, container)
                records.forget(engine.places, container)
            else:
                _settled(engine, record, emit)


def running(engine: Engine) -> list[Running]:
    """Every container whose end is not on record; also those that ended this very moment."""
    return [
        Running(record.container, record.run, record.init)
        for record in _all(engine)
        if record.phase is Phase.RUNNING and record.init is not None
    ]


def inventory(engine: Engine) -> tuple[ContainerFacts, ...]:
    """Every container this node holds."""
    return tuple(announcements.facts(record) for record in _all(engine) if record.phase is not Phase.REMOVED)


def usage(engine: Engine, container: str) -> Usage:
    """Raise ``NoSuchContainer`` or ``NotRunning``."""
    record = _running(engine, container)
    try:
        return engine.cgroups.usage(record.cgroup)
    except FileNotFoundError as error:
        raise NotRunning(f"Container {container} is not running", container=container) from error


def wait(engine: Engine, container: str, timeout: float | None = None) -> bool:
    """Block until the current run has ended, so that ``settle`` finds its outcome.

    False when ``timeout`` seconds passed first.
    """
    record = records.find(engine.places, container)
    if record is None or record.phase is not Phase.RUNNING or record.lost:
        return True
    # The shim outlives the container's init just long enough to write the exit file.
    watched = record.shim if record.shim is not None and process.alive(record.shim) else record.init
    return watched is None or process.wait(watched, timeout)


def rotate_log(engine: Engine, container: str, *, segment_bytes: int = logs.SEGMENT_BYTES) -> bool:
    """Begin a new log segment if the active one is full; True if so."""
    directory = engine.places.log_directory(container)
    if not logs.is_due(directory, segment_bytes):
        return False
    with records.locked(engine.places, container):
        logs.rotate(directory, lambda: conmon.reopen_log(engine.places, container))
    return True


# --------------------------------------------------------------------------- under the lock


def _start(engine: Engine, command: RunContainer, last: Record | None, emit: Emit) -> None:
    generation = 0 if last is None else last.generation
    record = launching.intended(engine, command, generation)
    records.write(engine.places, record)
    crash.point("run.after_intent")
    try:
        record = launching.launch(engine, record, command)
    except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be left of the attempt
        launching.clean_up(engine, record)
        outcome = launching.failed(error)
        record = replace(record, phase=Phase.CREATED, init=None, shim=None, outcome=outcome)
    _carried_out(engine, replace(record, generation=command.generation), emit)


def _mended(engine: Engine, container: str, emit: Emit) -> Record | None:
    """The record, after finishing or undoing a start that was cut off."""
    record = records.find(engine.places, container)
    if record is None or record.announced or record.phase not in (Phase.STARTING, Phase.RUNNING):
        return record
    if record.phase is Phase.RUNNING and _was_started(engine, record):
        return _carried_out(engine, replace(record, generation=record.intended), emit)
    if record.phase is Phase.RUNNING:
        # Cut off in the middle of what follows, a runtime that knows it no more would tell nothing.
        record = replace(record, phase=Phase.STARTING)
        records.write(engine.places, record)
    launching.clean_up(engine, record)
    record = replace(record, phase=Phase.CREATED, init=None, shim=None)
    records.write(engine.places, record)
    return record


def _was_started(engine: Engine, record: Record) -> bool:
    """The container's own program was let go, as far as anybody can still tell."""
    if record.lost or engine.places.exit(record.container).exists():
        return True
    return launching.runtime_of(engine, record).state(record.container) != "created"


def _settled(engine: Engine, record: Record, emit: Emit) -> Record:
    """The record, exited and cleaned up if the container has ended."""
    if record.phase is Phase.RUNNING:
        outcome = _find_outcome(engine, record)
        if outcome is None:
            return record
        record = replace(record, phase=Phase.EXITED, outcome=outcome, stopping=None)
        _carried_out(engine, record, emit)
        crash.point("settle.before_clean_up")
        launching.clean_up(engine, record)
    elif bundles.exists(engine.places, record.container):  # a clean-up was cut off
        launching.clean_up(engine, record)
    return record


def _find_outcome(engine: Engine, record: Record) -> Outcome | None:
    """None while the container runs."""
    if record.lost:
        said = "The node restarted while the container ran; its exit code is unknown"
        return Outcome(None, False, time.time(), Failure("NODE_RESTARTED", said))
    outcome = _exit_on_file(engine, record)
    if outcome is not None:
        return outcome
    if record.init is not None and process.alive(record.init):
        return None
    if record.shim is not None:  # it is about to write the file, or it hangs and never will
        process.wait(record.shim, _EXIT_FILE_TIMEOUT)
    outcome = _exit_on_file(engine, record)
    if outcome is not None:
        return outcome
    oom = engine.cgroups.oom_kills(record.cgroup) > 0
    cause = Failure("SHIM_LOST", "The container's shim was killed, and the exit code was lost with it")
    return Outcome(None, oom, time.time(), cause)


def _exit_on_file(engine: Engine, record: Record) -> Outcome | None:
    path = engine.places.exit(record.container)
    try:
        text, finished_at = path.read_text(), path.stat().st_mtime
    except FileNotFoundError:
        return None
    if not text.strip():
        return None
    code = int(text)
    # A child of the container may have been killed for memory long before a good end.
    oom = code == _SIGKILL_STATUS and engine.cgroups.oom_kills(record.cgroup) > 0
    return Outcome(code, oom, finished_at)


def _carried_out(engine: Engine, record: Record, emit: Emit) -> Record:
    """Journal the state the record says, then put it on record."""
    emit(announcements.event(record))
    crash.point("engine.after_event")
    records.write(engine.places, record)
    return record


def _ended(engine: Engine, record: Record, emit: Emit) -> None:
    """Settle a container whose init is gone."""
    if _settled(engine, record, emit).phase is Phase.RUNNING:
        raise RuntimeFailed(f"Container {record.container} survives SIGKILL", pid=record.pid)


# --------------------------------------------------------------------------- ends and signals


def _await_end(record: Record) -> None:
    """Wait for a stop's deadline at most, then kill; needs no lock and changes no record."""
    if record.init is None or record.lost:
        return
    deadline = record.stopping.deadline if record.stopping is not None else time.monotonic()
    if not process.wait(record.init, max(0.0, deadline - time.monotonic())):
        _signal(record, signal.SIGKILL)
        if not process.wait(record.init, _KILL_TIMEOUT):
            raise RuntimeFailed(f"Container {record.container} survives SIGKILL", pid=record.pid)


def _signal(record: Record, number: int) -> bool:
    return record.init is not None and not record.lost and process.send(record.init, number)


def _running(engine: Engine, container: str) -> Record:
    record = records.find(engine.places, container)
    if record is None or record.phase is Phase.REMOVED:
        raise NoSuchContainer(f"No such container on this node: {container}", container=container)
    if record.phase is not Phase.RUNNING:
        raise NotRunning(f"Container {container} is not running", container=container)
    return record


def _all(engine: Engine) -> list[Record]:
    found = (records.find(engine.places, container) for container in records.containers(engine.places))
    return [record for record in found if record is not None]
