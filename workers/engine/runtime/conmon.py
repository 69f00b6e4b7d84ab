"""conmon as shim: it holds a container's process and output, outlives us, and writes the exit file.

It is moved out of our cgroup before it does anything (``Cgroups.adopt_shim``): conmon waits for a
byte on its start pipe for that very purpose. See docs/adr/0018-shims-leave-our-cgroup-before-they-start.md.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers import crash
from workers.engine.places import Places
from workers.engine.runtime import process
from workers.engine.runtime.oci import Runtime, failure
from workers.engine.runtime.process import Process
from workers.engine.runtime.spawn import ENVIRONMENT, spawn
from workers.errors import RuntimeFailed

_CREATE_TIMEOUT = 60.0


@dataclass(frozen=True)
class Created:
    """A container whose process waits for ``Runtime.start``."""

    init: Process
    shim: Process


def program() -> str:
    found = shutil.which("conmon", path=ENVIRONMENT["PATH"] + ":/usr/libexec/podman:/usr/lib/podman")
    if found is None:
        raise RuntimeFailed("conmon is not installed; on Debian: apt-get install conmon")
    return found


def create(
    conmon: str,
    runtime: Runtime,
    places: Places,
    container: str,
    *,
    terminal: bool,
    program: str,
    adopt: Callable[[int], None],
) -> Created:
    """Let conmon create the container from its bundle; ``adopt(pid)`` moves conmon's cgroup.

    Raise ``CommandNotFound``, ``CommandNotExecutable`` or ``RuntimeFailed``. Whatever was made by
    then must be cleaned up by the caller in either case. Errors name the ``program`` to be run.
    """
    bundle = places.bundle(container)
    with (
        open(bundle / "conmon.log", "wb", buffering=0) as log,
        _Pipe() as sync,
        _Pipe() as start,
    ):
        environment = {**ENVIRONMENT, "_OCI_SYNCPIPE": str(sync.write), "_OCI_STARTPIPE": str(start.read)}
        pid = spawn(
            arguments(conmon, runtime, places, container, terminal),
            {2: log.fileno(), sync.write: sync.write, start.read: start.read},
            environment=environment,
            session=True,
        )
        try:
            sync.close_write()
            start.close_read()
            adopt(pid)
            crash.point("run.before_shim")
            os.write(start.write, b"\0")
            answer = _line(sync.read, _CREATE_TIMEOUT)
        finally:
            start.close_write()  # unblocks a conmon that was not let go: it ends
            os.waitpid(pid, 0)  # the starter; the shim itself is its child and init's
    return _created(answer, bundle, program)


def arguments(conmon: str, runtime: Runtime, places: Places, container: str, terminal: bool) -> list[str]:
    bundle = places.bundle(container)
    argv = [
        conmon, "--api-version", "1",
        "--cid", container, "--cuuid", container, "--name", container,
        "--runtime", runtime.path, *(f"--runtime-arg={each}" for each in runtime.globals),
        "--bundle", str(bundle), "--full-attach",
        "--container-pidfile", str(places.pidfile(container)),
        "--conmon-pidfile", str(bundle / "conmon.pid"),
        "--exit-dir", str(places.exits), "--persist-dir", str(bundle),
        "--log-path", f"k8s-file:{places.active_log(container)}", "--no-sync-log",
        "--log-level", "warning",
    ]  # fmt: skip
    return [*argv, "--terminal"] if terminal else argv


def reopen_log(places: Places, container: str) -> bool:
    """Tell conmon that its log file was renamed; False when no conmon is listening."""
    try:
        fd = os.open(places.bundle(container) / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    try:
        os.write(fd, b"2 0 0\n")
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True


def _find(pidfile: Path) -> Process | None:
    with suppress(FileNotFoundError, ValueError):
        return process.find(int(pidfile.read_text()))
    return None


def _created(answer: bytes, bundle: Path, program: str) -> Created:
    said = (bundle / "conmon.log").read_text(errors="replace").strip()
    if not answer:
        raise RuntimeFailed(f"conmon ended without an answer: {said[-500:] or 'it said nothing'}")
    report = json.loads(answer)
    pid = int(report["data"])
    if pid < 0:
        raise failure(report.get("message") or said, program)
    init = process.find(pid)
    shim = _find(bundle / "conmon.pid")
    if init is None or shim is None:
        raise RuntimeFailed(f"The container's process ended before it was started. {said[-500:]}".rstrip())
    return Created(init, shim)


def _line(fd: int, timeout: float) -> bytes:
    """Up to a newline or the end of the pipe."""
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    text = b""
    while not text.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise RuntimeFailed(f"conmon did not answer within {timeout:g} s")
        part = os.read(fd, 16384)
        if not part:
            break
        text += part
    return text


class _Pipe:
    """A pipe whose ends are closed once each, by hand or at the end of the block."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._open = {self.read, self.write}

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)

    def close_read(self) -> None:
        self._close(self.read)

    def close_write(self) -> None:
        self._close(self.write)

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_read()
        self.close_write()
