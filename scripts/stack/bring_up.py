"""Bring one instance up, step by step; every step says what it does and how long it took."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack import directories, hybrid, identity, pidfiles, programs
from stack.platform_commands import PlatformCommands, StepFailed, wait_until
from stack.settings import ROOT, Stack
from stack.supervisor import Program, Supervisor, tail
from stack.terminal import Terminal

READY_SECONDS = 30.0
BUSYBOX_SECONDS = 300.0


@dataclass
class BringUp:
    """Leaves running what it started, also when it raises ``StepFailed``; the caller stops it."""

    stack: Stack
    terminal: Terminal
    supervisor: Supervisor
    environ: Mapping[str, str]
    administrator: dict[str, str] = field(default_factory=dict)
    """Name and password, when this start made the account; the password is kept nowhere."""

    def run(self) -> None:
        self._tidy()
        user = self._user()
        directories.prepare(self.stack, user)
        self.commands = PlatformCommands(self.stack, user)
        self._start(programs.redis(self.stack, user))
        self._prepare_platform()
        for program in (
            programs.agent(self.stack),
            programs.worker(self.stack),
            programs.observer(self.stack, user),
            programs.web(self.stack, user),
        ):
            self._start(program)

    # ------------------------------------------------------------------ before anything runs

    def _tidy(self) -> None:
        left = pidfiles.alive(self.stack.pids)
        if left:
            with self.terminal.step(f"Stopping what an earlier start left running: {', '.join(left)}"):
                pidfiles.end(left.values(), grace=5.0)
        if (line := hybrid.mount_hugetlb(self.environ)) is not None:
            self.terminal.line(f"  · {line}")

    def _user(self) -> str | None:
        user, reason = identity.service_user(self.stack.python)
        if user is None:
            self.terminal.line(f"  · Web, observer and Redis run as root: {reason}")
        return user

    # ------------------------------------------------------------------ processes

    def _start(self, program: Program) -> None:
        with self.terminal.step(f"Starting {program.name}") as step:
            self.supervisor.start(program)
            first = self.supervisor.pid(program.name)
            ready = wait_until(
                program.ready, READY_SECONDS, alive=lambda: self.supervisor.pid(program.name) == first
            )
            if not ready:
                gone = self.supervisor.pid(program.name) != first
                what = "ended at once" if gone else f"was not ready after {READY_SECONDS:g} s"
                raise StepFailed(f"{program.name} {what}. {self._last_words(program.name)}")
            step.title = f"{program.name} is ready"

    def _last_words(self, name: str) -> str:
        log = self.stack.logs / f"{name}.log"
        return "\n".join([f"The end of {log}:", *(f"    {line}" for line in tail(log, 15))])

    # ------------------------------------------------------------------ the platform

    def _prepare_platform(self) -> None:
        with self.terminal.step("Preparing the database, keys and static files"):
            self.commands.run("prepare", *self._static_stamp())
        with self.terminal.step("Registering this node") as step:
            step.detail = self.stack.node
            self._register_node()
        with self.terminal.step("Looking for an administrator") as step:
            made = json.loads(self.commands.run("create_admin", "--if-none", "--json"))
            if made:
                self.administrator = made
                step.title = f"Made the administrator {made['username']}"
            else:
                step.title = "There is an administrator"

    def _static_stamp(self) -> tuple[str, ...]:
        return ()

    def _register_node(self) -> None:
        return None


def fingerprint(*names: str) -> str:
    """Changes when one of the files does."""
    digest = hashlib.sha256()
    for name in names:
        path = ROOT / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()
