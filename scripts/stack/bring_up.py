"""Bring one instance up, step by step; every step says what it does and how long it took."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stack import directories, hybrid, identity, pidfiles, programs
from stack.platform_commands import PlatformCommands, StepFailed, wait_until
from stack.settings import ROOT, Stack
from stack.supervisor import Program, Supervisor, tail
from stack.terminal import Step, Terminal

READY_SECONDS = 30.0
ADMINISTRATOR = "admin"
BASE_IMAGE = "busybox"
BACKGROUND_IMAGE = "debian"


@dataclass
class BringUp:
    """Leaves running what it started, also when it raises ``StepFailed``; the caller stops it."""

    stack: Stack
    terminal: Terminal
    supervisor: Supervisor
    environ: Mapping[str, str]
    password: str = ""
    """Of the administrator, when this start made the account; it is kept nowhere."""
    commands: PlatformCommands = field(init=False)

    def run(self, *, proof: bool) -> None:
        self._tidy()
        user = self._user()
        directories.prepare(self.stack, user)
        pidfiles.write(self.stack.pids / "supervisor", os.getpid())
        self.commands = PlatformCommands(self.stack, user)
        self._start(programs.redis(self.stack, user))
        self._prepare()
        for program in (
            programs.agent(self.stack),
            programs.worker(self.stack),
            programs.observer(self.stack, user),
            programs.web(self.stack, user),
        ):
            self._start(program)
        self._images(background=proof)
        if proof:
            self._prove()
        self._welcome()

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

    # ------------------------------------------------------------------ the platform's own commands

    def _prepare(self) -> None:
        with self.terminal.step("Preparing keys, database and static files") as step:
            said = self.commands.run("prepare", "--admin")
            self.commands.as_root().run("register_node")
            step.title = "Keys, database and static files are ready; this machine is a node"
        if found := re.search(r"^Password:\s+(\S+)$", said, re.MULTILINE):
            self.password = found[1]

    def _images(self, *, background: bool) -> None:
        with self.terminal.step(f"Making the image {BASE_IMAGE} from Debian's package") as step:
            self.commands.run("bake_image", BASE_IMAGE, "--wait", heard=lambda line: _say(step, line))
            step.title, step.detail = f"The image {BASE_IMAGE} is in the library", ""
        if background:
            said = self.commands.run("bake_image", BACKGROUND_IMAGE)
            if said.startswith("Job"):
                self.terminal.line(
                    f"  · The image {BACKGROUND_IMAGE} is being made in the background: {said.strip()}"
                )

    def _prove(self) -> None:
        with self.terminal.step("Running one container through the whole queue as proof") as step:
            said = self.commands.run("run_proof", "--username", ADMINISTRATOR)
            step.title = "One container ran through the whole queue"
        for line in said.splitlines():
            self.terminal.line(f"      {line}")

    def _welcome(self) -> None:
        lines = ["", f"  Slipway is ready: {self.stack.url}"]
        if self.password:
            lines += [f"  Sign in as {ADMINISTRATOR} with the password {self.password}",
                      "  It is shown this once; `manage.py create_admin --reset` makes another."]  # fmt: skip
        lines += [f"  From a terminal: {ROOT}/bin/slipway login {self.stack.url}"]
        lines += [f"  Logs: {self.stack.logs}    Ctrl-C stops Slipway, containers go on.", ""]
        self.terminal.line("\n".join(lines))

    # ------------------------------------------------------------------ for tests and scripts

    def report(self) -> dict[str, str]:
        """How to use this instance, with a token of the administrator's that was made for it.

        The password is empty unless this start made the account.
        """
        scopes = ("--scope", "read", "--scope", "write", "--scope", "admin")
        token = self.commands.run("create_token", ADMINISTRATOR, "--name", "report", *scopes)
        return {
            "url": self.stack.url,
            "token": token.strip(),
            "admin": ADMINISTRATOR,
            "password": self.password,
        }


def _say(step: Step, line: str) -> None:
    step.detail = line.strip()
