"""Keeps a set of processes running: start in order, start again with back-off, stop in reverse order."""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stack import cgroups, pidfiles
from stack.settings import ROOT, Stack
from stack.terminal import Terminal
from workers import crash

BACK_OFF = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 30.0
"""A process that ran so long starts again at once, whatever happened before."""
STOP_SECONDS = 10.0
LOG_BYTES = 20 << 20


@dataclass(frozen=True)
class Program:
    """One process of the set. ``user`` is None for root; ``ready`` answers without waiting."""

    name: str
    argv: tuple[str, ...]
    user: str | None
    ready: Callable[[], bool]
    before: Callable[[], None] = lambda: None
    """Runs before every start: removes what an earlier life left in the way."""
    directory: Path = ROOT
    """Working directory; programs that it runs may leave files there."""


@dataclass
class Running:
    program: Program
    process: subprocess.Popen[bytes]
    pidfd: int
    started: float
    failures: int


@dataclass
class Waiting:
    """Died; starts again at ``due``."""

    program: Program
    due: float
    failures: int


@dataclass
class Supervisor:
    """Owns its processes until ``stop``. Safe to call from one thread while its own one watches."""

    stack: Stack
    terminal: Terminal
    _running: dict[str, Running] = field(default_factory=dict)
    _waiting: list[Waiting] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self, program: Program) -> None:
        with self._lock:
            self._launch(program, failures=0)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True, name="supervisor")
            self._thread.start()
        self._wake()

    def pid(self, name: str) -> int | None:
        with self._lock:
            running = self._running.get(name)
            return running.process.pid if running else None

    def stop(self) -> None:
        """Stop what was started, last first; returns when all are gone."""
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._waiting.clear()
            for name in reversed(list(self._running)):
                self._end(self._running.pop(name))
        cgroups.remove(self.stack.instance)

    # ------------------------------------------------------------------ starting

    def _launch(self, program: Program, failures: int) -> None:
        program.before()
        environment = self.stack.environment()
        identity: dict[str, str | int | list[int]] = {}
        if program.user is not None:
            account = pwd.getpwnam(program.user)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            environment |= {"HOME": str(self.stack.data / "platform"), "USER": program.user}
        with _open_log(self.stack.logs / f"{program.name}.log") as log:
            process = subprocess.Popen(
                program.argv,
                cwd=program.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **identity,  # type: ignore[call-overload]  # one of two fixed shapes
            )
        self._contain(program, process.pid)
        pidfiles.write(self.stack.pids / program.name, process.pid)
        self._running[program.name] = Running(
            program, process, os.pidfd_open(process.pid), time.monotonic(), failures
        )

    def _contain(self, program: Program, pid: int) -> None:
        group = cgroups.ensure(self.stack.instance, program.name)
        if group is None:
            return
        try:
            cgroups.join(group, pid)
        except OSError as error:
            self.terminal.event(program.name, f"stays in the caller's control group: {error.strerror}")

    # ------------------------------------------------------------------ watching

    def _watch(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                watched = {running.pidfd: name for name, running in self._running.items()}
                due = min((waiting.due for waiting in self._waiting), default=time.monotonic() + 60.0)
            timeout = max(0.0, due - time.monotonic())
            ended, _, _ = select.select([*watched, self._wake_read], [], [], timeout)
            if self._wake_read in ended:
                os.read(self._wake_read, 4096)
            with self._lock:
                for descriptor in ended:
                    if (name := watched.get(descriptor)) is not None and not self._stopping.is_set():
                        self._buried(self._running.pop(name))
                self._revive()
                self._trim_logs()

    def _buried(self, dead: Running) -> None:
        """Reap a process that ended by itself and plan its next start."""
        os.close(dead.pidfd)
        code = dead.process.wait()
        steady = time.monotonic() - dead.started >= STEADY_SECONDS
        # A test that kills on purpose, again and again, must not be punished for it.
        failures = 0 if steady or crash.is_without("back-off") else dead.failures
        delay = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
        again = f"starting again in {delay:g} s" if delay else "starting again"
        self.terminal.event(dead.program.name, f"ended ({_ending(code)}); {again}")
        self._waiting.append(Waiting(dead.program, time.monotonic() + delay, failures + 1))

    def _revive(self) -> None:
        now = time.monotonic()
        for waiting in [waiting for waiting in self._waiting if waiting.due <= now]:
            if self._stopping.is_set():
                return
            self._waiting.remove(waiting)
            try:
                self._launch(waiting.program, waiting.failures)
            except OSError as error:  # no memory or no process id left: no reason to give up on the others
                self._postpone(waiting, error)
            else:
                self.terminal.event(waiting.program.name, f"runs again, pid {self.pid(waiting.program.name)}")

    def _postpone(self, waiting: Waiting, error: OSError) -> None:
        self.terminal.event(waiting.program.name, f"cannot be started ({error}); trying again")
        due = time.monotonic() + BACK_OFF[-1]
        self._waiting.append(Waiting(waiting.program, due, waiting.failures + 1))

    def _trim_logs(self) -> None:
        for path in self.stack.logs.glob("*.log"):
            if path.stat().st_size > LOG_BYTES:
                keep_last(path)

    def _wake(self) -> None:
        os.write(self._wake_write, b".")

    # ------------------------------------------------------------------ stopping

    def _end(self, running: Running) -> None:
        process = running.process
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.terminal.event(running.program.name, f"did not stop in {STOP_SECONDS:g} s and was killed")
        os.close(running.pidfd)
        (self.stack.pids / running.program.name).unlink(missing_ok=True)


def _open_log(path: Path):  # type: ignore[no-untyped-def]  # BufferedWriter
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab", buffering=0)


def keep_last(path: Path) -> None:
    """Copy a log to ``<name>.1`` and empty it; its writer appends, so it goes on at the new start."""
    previous = path.with_name(f"{path.name}.1")
    previous.write_bytes(path.read_bytes())
    os.truncate(path, 0)


def tail(path: Path, lines: int) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
