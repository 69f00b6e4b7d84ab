"""RUN: a container of one command, whose upper directory is the step's layer."""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.content import no_space
from workers.engine import bundles, leases, snapshots
from workers.engine.build import owners
from workers.engine.build import room as rooms
from workers.engine.build.output import Lines
from workers.engine.build.room import WEIGHT, Room
from workers.engine.build.runmounts import Layers, Mounts, prepared
from workers.engine.build.sshkeys import Key
from workers.engine.build.stacks import Stack
from workers.engine.build.steps import RunStep
from workers.engine.build.uppers import Upper
from workers.engine.identity import ensure_userns
from workers.engine.runtime import oci, spec, users
from workers.errors import BuildExceeded, BuildUnsupported, CommandNotFound, RuntimeFailed, StepFailed
from workers.messages import ContainerSpec
from workers.oci.config import ImageConfig
from workers.oci.descriptor import Platform

HOSTNAME = "buildkitsandbox"
"""BuildKit's: what a program writes of its host's name into a layer is the same here and there."""
_CHECK_EVERY = 0.2
_PIPE = 64 << 10
_FULL = 4 << 20
_STUBS = (
    ("/proc", True), ("/sys", True), ("/dev", True),
    ("/etc/hosts", False), ("/etc/hostname", False), ("/etc/resolv.conf", False),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One RUN and all it needs to know."""

    room: Room
    step: RunStep
    lowers: Sequence[Path]
    """Topmost first."""
    layers: Layers
    secrets: Mapping[str, str]
    agents: Mapping[str, tuple[Key, ...]]
    streams: tuple[Lines, Lines]
    check: Callable[[], None]
    """Raises when the build was cancelled."""
    deadline: float
    """Monotonic."""
    number: str
    """``5/9``, for people."""


def run(task: Run) -> Path:
    """The upper the command left. Raise ``StepFailed``, ``BuildExceeded``, what ``check`` raises; then, as
    on success, nothing else of it is left."""
    _refuse(task.step)
    container = secrets.token_hex(32)
    work = task.room.new_directory("run")
    places = task.room.places
    try:
        rooms.trace(places, container, task.room.project, f"{task.room.cgroup}/{container[:12]}")
        _run(task, container, work)
    finally:
        rooms.clear(task.room.engine, container)
    return work / "rw" / "upper"


def _refuse(step: RunStep) -> None:
    if step.network == "host":
        raise BuildUnsupported("RUN --network=host: the node's network is closed to builds by policy")
    if step.network not in ("default", "none", "bridge", ""):
        raise BuildUnsupported(f"The network {step.network!r} is not known to builds: default or none")
    if step.security != "sandbox":
        raise BuildUnsupported(f"RUN --security={step.security} is closed to builds by policy")
    if step.devices:
        raise BuildUnsupported(f"RUN --device={step.devices[0]} is closed to builds by policy")


def _run(task: Run, container: str, work: Path) -> None:
    room, step, engine = task.room, task.step, task.room.engine
    project, places = room.project, task.room.places
    userns = ensure_userns(engine.kernel, engine.places, project.uid_base, project.uid_count)
    networked = step.network != "none"
    address = ""
    if networked:
        engine.networks.ensure(project)
        address = engine.networks.lease(project, container)
    bundle = places.bundle(container)
    bundles.make(engine.kernel, places, container, _etc(task, address), project.uid_base)
    with prepared(
        room, step, bundle, work,
        userns=userns, layers=task.layers, secrets=task.secrets, agents=task.agents, check=task.check,
    ) as mounts:  # fmt: skip
        rootfs = _mount(task, container, work, userns, mounts)
        config = _config(task, container, rootfs, userns, mounts)
        bundles.write_config(places, container, config)
        _confine(room)
        _perform(task, container, work, address, config["process"])


def _confine(room: Room) -> None:
    """All steps of a build together have the build's limits."""
    room.engine.cgroups.confine(room.cgroup, room.limits, weight=WEIGHT)


def _etc(task: Run, address: str) -> Mapping[str, str]:
    wanted = ContainerSpec("", "", "build", task.step.hostname or HOSTNAME)
    files = dict(spec.files(wanted, address or "127.0.0.1", task.room.engine.networks.resolv_conf()))
    gateway = leases.gateway(task.room.project.subnet)
    for entry in task.step.extra_hosts:
        name, _, target = entry.replace("=", ":", 1).partition(":")
        files["hosts"] += f"{gateway if target == 'host-gateway' else target.strip('[]')}\t{name}\n"
    return files


def _mount(task: Run, container: str, work: Path, userns: Path, mounts: Mounts) -> Path:
    """The mounted root: below the step's upper and above its parents a layer of mountpoints, so that none
    of them ends up in the image."""
    writable, stubs = work / "rw", work / "stubs"
    for path, mode in (
        (writable, 0o700),
        (writable / "upper", 0o755),
        (writable / "work", 0o700),
        (stubs, 0o755),
    ):
        path.mkdir()
        path.chmod(mode)
    _make_stubs(task, stubs, [*_STUBS, *mounts.targets])
    _ensure_working_dir(task, writable / "upper")
    lowers = snapshots.visible([stubs, *task.lowers])
    rootfs = task.room.places.rootfs(container)
    rootfs.mkdir(mode=0o711)
    base = task.room.project.uid_base
    task.room.engine.kernel.mount_overlay(snapshots.overlay(lowers, writable, userns, base), rootfs)
    return rootfs


def _make_stubs(task: Run, stubs: Path, targets: Sequence[tuple[str, bool]]) -> None:
    upper = Upper(stubs, task.lowers)
    inside_mounts = ("/proc", "/sys", "/dev")
    for target, is_directory in targets:
        if target.startswith(tuple(f"{each}/" for each in inside_mounts)):
            continue
        parts, node = upper.stack.resolve(target)
        if node is not None:
            continue
        if is_directory:
            upper.ensure_directory(parts)
        else:
            upper.ensure_directory(parts[:-1])
            upper.write(parts, b"", 0o644, (0, 0))


def _ensure_working_dir(task: Run, upper: Path) -> None:
    """As Docker does, where the image names one it does not have."""
    stack = Stack(list(task.lowers))
    parts, node = stack.resolve(task.step.working_dir)
    if node is None and parts and stack.root is not None:
        Upper(upper, task.lowers).ensure_directory(parts)


# --------------------------------------------------------------------------- config.json


def _config(task: Run, container: str, rootfs: Path, userns: Path, mounts: Mounts) -> dict[str, Any]:
    room, step, engine = task.room, task.step, task.room.engine
    compiles = engine.runtime.compiles_seccomp
    placement = spec.Placement(
        bundle=room.places.bundle(container),
        userns=userns,
        cgroup=f"{room.cgroup}/{container[:12]}",
        user=owners.resolve(step.user, users.reader(rootfs), count=room.project.uid_count),
        runtime_compiles_seccomp=compiles,
        filter="" if compiles else engine.filters.encoded(spec.CAPABILITIES),
        swap_limits=engine.cgroups.limits_swap,
        nofile_hard=spec.own_nofile_limit(),
    )
    wanted = ContainerSpec(
        image_id="",
        image_scope="",
        name="build",
        hostname=step.hostname or HOSTNAME,
        entrypoint=step.argv,
        command=(),
        env=(*step.env, *step.proxy_env, *mounts.env),
        working_dir=step.working_dir,
        no_new_privileges=False,
        limits=room.limits,
    )
    nothing = ImageConfig(Platform("linux", "", ""), ())
    config = spec.build(wanted, nothing, room.project, placement)
    process_ = config["process"]
    process_["env"] = [each for each in process_["env"] if not each.startswith("HOSTNAME=")]
    process_["rlimits"] = _limits(process_["rlimits"], step.ulimits)
    config["mounts"] = [_sized(mount, step.shm_bytes) for mount in config["mounts"]] + mounts.oci
    config["linux"]["resources"]["cpu"]["shares"] = WEIGHT * 1024 // 100
    return config


def _sized(mount: dict[str, Any], shm_bytes: int | None) -> dict[str, Any]:
    if shm_bytes is None or mount["destination"] != "/dev/shm":  # noqa: S108 - the container's own
        return mount
    options = [each for each in mount["options"] if not each.startswith("size=")]
    return {**mount, "options": [*options, f"size={shm_bytes}"]}


def _limits(defaults: list[dict[str, Any]], ulimits: Sequence[str]) -> list[dict[str, Any]]:
    known = {each["type"]: each for each in defaults}
    for text in ulimits:
        name, _, values = text.partition("=")
        soft, _, hard = values.partition(":")
        kind = f"RLIMIT_{name.upper()}"
        ceiling = known.get(kind, {}).get("hard", spec.own_limit(kind))
        top = min(int(hard or soft), ceiling)
        known[kind] = {"type": kind, "soft": min(int(soft), top), "hard": top}
    return list(known.values())


# --------------------------------------------------------------------------- the process


def _perform(task: Run, container: str, work: Path, address: str, program: dict[str, Any]) -> None:
    engine, places = task.room.engine, task.room.places
    out, err = work / "stdout", work / "stderr"
    # Its user may open them again, by /dev/stdout.
    owner = task.room.project.uid_base + program["user"]["uid"]
    readers = [_fifo(out, owner), _fifo(err, owner)]
    log, pidfile = work / "runtime.log", places.pidfile(container)
    runtime = engine.runtime
    argv = (
        runtime.path, *runtime.globals, "--log", str(log), "create",
        "--bundle", str(places.bundle(container)), "--pid-file", str(pidfile), container,
    )  # fmt: skip
    try:
        code = task.room.reaping.create(container, pidfile, (out, err), argv)
        if code != 0:
            raise _refused(log, str(program["args"][0]))
        watch = task.room.reaping.watch(container)
        try:
            if address:
                pid = int(pidfile.read_text())
                engine.networks.attach(task.room.project, container, address, pid)
            refused = engine.cgroups.forks_refused(task.room.cgroup)
            runtime.start(container)
            _pump(task, readers, watch)
        finally:
            os.close(watch)
        _judge(task, container, refused)
    finally:
        for descriptor in readers:
            os.close(descriptor)
        for stream in task.streams:
            stream.finish()


def _fifo(path: Path, owner: int) -> int:
    os.mkfifo(path, 0o600)
    os.chown(path, owner, -1)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _refused(log: Path, program: str) -> Exception:
    said = log.read_text(errors="replace") if log.exists() else ""
    error = oci.failure(said, program)
    if isinstance(error, CommandNotFound):
        return StepFailed(f"{error.message} (exit code 127)", exit_code=127)
    return error


def _pump(task: Run, readers: Sequence[int], watch: int) -> None:
    """Take its output until its first process has ended and all was read."""
    poll = select.poll()
    lines = dict(zip(readers, task.streams, strict=True))
    for descriptor in (*readers, watch):
        poll.register(descriptor, select.POLLIN)
    running = True
    while running or lines:
        # With its first process all others are gone: what is in the pipes then is all there is.
        ready = dict(poll.poll(_CHECK_EVERY * 1000 if running else 0))
        if not running and not ready:
            return
        for descriptor in [each for each in ready if each in lines]:
            if not _drain(descriptor, lines[descriptor]):
                poll.unregister(descriptor)
                del lines[descriptor]
        if watch in ready:
            poll.unregister(watch)
            running = False
        task.check()
        if time.monotonic() > task.deadline:
            raise BuildExceeded(f"build exceeded its time at step {task.number}", limit="timeout")


def _drain(descriptor: int, lines: Lines) -> bool:
    """False at the end."""
    try:
        chunk = os.read(descriptor, _PIPE)
    except BlockingIOError:
        return True
    if chunk:
        lines.feed(chunk)
    return bool(chunk)


def _judge(task: Run, container: str, refused_before: int) -> None:
    status = task.room.reaping.status(container)
    if status is None:
        raise RuntimeFailed("The process that watches this build's containers was killed")
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return
    code = 128 - code if code < 0 else code
    cgroups, cgroup = task.room.engine.cgroups, f"{task.room.cgroup}/{container[:12]}"
    if cgroups.oom_kills(cgroup):
        size = task.room.limits.memory_bytes
        raise BuildExceeded(
            f"build exceeded {_shown(size)} at step {task.number}", limit="memory", bytes=size, exit_code=code
        )
    if cgroups.forks_refused(cgroup) or cgroups.forks_refused(task.room.cgroup) > refused_before:
        most = task.room.limits.pids
        raise BuildExceeded(
            f"build exceeded {most} processes at step {task.number}", limit="pids", pids=most, exit_code=code
        )
    if _is_full(task.room.directory):
        raise no_space(task.room.directory)
    shown = " ".join(task.step.argv)
    raise StepFailed(
        f"process {shown[:500]!r} did not complete successfully: exit code: {code}", exit_code=code
    )


def _is_full(directory: Path) -> bool:
    """A command that fails with the disk so full fails for that, as far as anybody can tell."""
    figures = os.statvfs(directory)
    return figures.f_bavail * figures.f_frsize < _FULL or (figures.f_files > 0 and figures.f_favail == 0)


def _shown(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB")):
        if size >= 1 << shift:
            return f"{round(size / (1 << shift), 1):g} {unit}"
    return f"{size} bytes"
