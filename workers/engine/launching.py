"""One attempt to start a container, and what cleans up after any attempt, however far it got."""

from __future__ import annotations

import errno
import signal
import time
from dataclasses import replace

import structlog

from workers import crash
from workers.engine import bundles, images, records, snapshots
from workers.engine.host import Engine
from workers.engine.identity import ensure_userns
from workers.engine.images import Image
from workers.engine.records import Outcome, Phase, Record
from workers.engine.runtime import conmon, oci, process, signals, spec, stragglers, users
from workers.engine.runtime.oci import Runtime
from workers.errors import (
    CommandNotExecutable,
    CommandNotFound,
    NoSpace,
    RuntimeFailed,
    SlipwayError,
)
from workers.messages import Failure, RunContainer

log = structlog.get_logger(__name__)

_EXIT_CODES: dict[type[SlipwayError], int] = {CommandNotFound: 127, CommandNotExecutable: 126}
_SHIM_TIMEOUT = 5.0


def intended(engine: Engine, command: RunContainer, generation: int) -> Record:
    """The record before anything is done: names all that a start may leave behind."""
    return Record(
        container=command.container,
        phase=Phase.STARTING,
        generation=generation,
        run=command.run,
        command=command,
        boot=process.boot_id(),
        runtime=engine.runtime.name,
        cgroup=engine.cgroups.path(command.project.id, command.container),
    )


def launch(engine: Engine, record: Record, command: RunContainer) -> Record:
    """Bring it to life: the running record. Whatever it raises, ``clean_up`` undoes what was done.

    The record is written once more before the program is let go, with its processes: whoever finds
    it then can tell by the runtime's state whether that happened.
    """
    places, project, container = engine.places, command.project, command.container
    image = images.get(engine.images, command.spec.image_scope, command.spec.image_id)
    stop_signal = signals.parse(command.spec.stop_signal or image.config.stop_signal or "SIGTERM")
    engine.networks.ensure(project)
    address = engine.networks.lease(project, container)
    crash.point("run.after_lease")
    program, user = _make_bundle(engine, record, command, image, address)
    created = _create(engine, command, program)
    crash.point("run.after_create")
    process.give_output(created.init, project.uid_base + user.uid, project.uid_base + user.gid)
    record = replace(
        record,
        phase=Phase.RUNNING,
        address=address,
        init=created.init,
        shim=created.shim,
        started_at=time.time(),
        stop_signal=stop_signal,
    )
    records.write(places, record)
    crash.point("run.after_record")
    engine.networks.attach(project, container, address, created.init.pid)
    crash.point("run.after_attach")
    engine.runtime.start(container)
    crash.point("run.after_start")
    return record


def _create(engine: Engine, command: RunContainer, program: str) -> conmon.Created:
    engine.places.log_directory(command.container).mkdir(mode=0o700, exist_ok=True)
    return conmon.create(
        engine.conmon,
        engine.runtime,
        engine.places,
        command.container,
        terminal=command.spec.tty,
        program=program,
        adopt=engine.cgroups.adopt_shim,
    )


def _make_bundle(
    engine: Engine, record: Record, command: RunContainer, image: Image, address: str
) -> tuple[str, users.User]:
    """The mounted rootfs, the files for /etc and ``config.json``. Returns the program and its user."""
    kernel, places, project = engine.kernel, engine.places, command.project
    container, base = command.container, project.uid_base
    userns = ensure_userns(kernel, places, base, project.uid_count)
    etc = spec.files(command.spec, address, engine.networks.resolv_conf())
    bundles.make(kernel, places, container, etc, base)
    crash.point("run.after_bundle")
    rootfs = snapshots.mount(kernel, places, container, image.layers, userns, base)
    crash.point("run.after_mount")
    wanted = image.config.user if command.spec.user is None else command.spec.user
    compiles = engine.runtime.compiles_seccomp
    placement = spec.Placement(
        bundle=places.bundle(container),
        userns=userns,
        cgroup=record.cgroup,
        user=users.resolve(wanted, users.reader(rootfs), count=project.uid_count),
        runtime_compiles_seccomp=compiles,
        filter="" if compiles else engine.filters.encoded(spec.CAPABILITIES),
        swap_limits=engine.cgroups.limits_swap,
        nofile_hard=spec.own_nofile_limit(),
    )
    config = spec.build(command.spec, image.config, project, placement)
    bundles.write_config(places, container, config)
    return str(config["process"]["args"][0]), placement.user


def clean_up(engine: Engine, record: Record) -> None:
    """Nothing of the last run is left but record, log and snapshot. Repeatable, also when cut off.

    The bundle goes last: while it is there, there may be more to clean up.
    """
    places, container = engine.places, record.container
    if not record.lost:
        _end_processes(engine, record)
    # Its own `delete` would kill and remove the same cgroup once more, and cost 4 to 20 ms for that.
    oci.forget(places, container)
    if record.cgroup:
        engine.cgroups.remove(record.cgroup)
    crash.point("clean_up.after_processes")
    if record.command is not None:
        engine.networks.release(record.command.project.id, container)
    snapshots.unmount(engine.kernel, places, container)
    crash.point("clean_up.after_unmount")
    bundles.remove(engine.kernel, places, container)


def _end_processes(engine: Engine, record: Record) -> None:
    def kill_cgroup() -> None:
        if record.cgroup:
            engine.cgroups.kill(record.cgroup)

    if not record.announced:
        stragglers.end(record.container, kill_cgroup)
        return
    kill_cgroup()
    if record.shim is not None and not process.wait(record.shim, _SHIM_TIMEOUT):
        process.send(record.shim, signal.SIGKILL)
        process.wait(record.shim, _SHIM_TIMEOUT)


def runtime_of(engine: Engine, record: Record) -> Runtime:
    """The one it was started with; this engine may have chosen another since."""
    for runtime in oci.installed(engine.places):
        if runtime.name == record.runtime:
            return runtime
    return engine.runtime


def failed(error: Exception) -> Outcome:
    """How an attempt ended that raised ``error``."""
    known = _known(error)
    if known is None:
        log.error("container_start_crashed", exc_info=error)
        known = RuntimeFailed(f"The start failed inside the engine: {type(error).__name__}: {error}")
    cause = Failure(known.code, known.message, known.facts)
    return Outcome(_EXIT_CODES.get(type(known)), False, time.time(), cause)


def _known(error: Exception) -> SlipwayError | None:
    if isinstance(error, SlipwayError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"No space left on the node: {error.filename or error}")
    return None
