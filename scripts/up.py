#!/usr/bin/env python
"""Start the whole process set of this machine and keep it running; `make up` calls this.

Ends with 0 after Ctrl-C or SIGTERM, with 1 and a message when it could not come up. Containers are not
this process's children: they go on, and are found again at the next start. `scripts/down.py` stops them too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stack import pidfiles, preflight
from stack.bring_up import BringUp
from stack.detach import OnReady, detach
from stack.lock import AlreadyRunning, InstanceLock
from stack.platform_commands import StepFailed
from stack.settings import Stack, read_stack
from stack.supervisor import Supervisor
from stack.terminal import Terminal
from workers.errors import NodeError
from workers.node import read_environment


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="up.py", description="Start Slipway on this machine.")
    parser.add_argument("--detach", action="store_true", help="go to the background once everything is ready")
    parser.add_argument("--no-proof", action="store_true", help="neither the proof nor the debian image")
    parser.add_argument(
        "--report", type=Path, help="write address, administrator and a token to this file (0600)"
    )
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    terminal = Terminal()
    try:
        stack = read_stack(os.environ)
        read_environment(os.environ)  # what worker and agent would refuse ends here, before anything is made
    except (ValueError, NodeError) as error:
        terminal.problem(str(error))
        return 1
    running = pidfiles.read(stack.pids / "supervisor")
    if running is not None:
        terminal.problem(f"Slipway already runs (pid {running}) at {stack.url}. `make down` stops it.")
        return 1
    if found := preflight.problems(stack):
        terminal.problem("Slipway cannot start:\n" + "\n".join(f"  ✗ {problem}" for problem in found))
        return 1
    if options.detach:
        return detach(
            lambda on_ready: serve(stack, options, terminal, on_ready), stack.logs / "supervisor.log"
        )
    return serve(stack, options, terminal, on_ready=lambda: None)


def serve(stack: Stack, options: argparse.Namespace, terminal: Terminal, on_ready: OnReady) -> int:
    """Bring up, watch until told to stop, stop."""
    request = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, request.note)
    try:
        with InstanceLock(stack.lock):
            return _serve(stack, options, terminal, on_ready, request)
    except AlreadyRunning:
        terminal.problem(f"Slipway is being started by somebody else just now ({stack.lock}).")
        return 1


class Interrupted(BaseException):
    """Asked to stop while still coming up; no ``except Exception`` on the way may swallow it."""


class StopRequest:
    """What a signal asks for: breaks off the coming up, ends the watching; further ones change nothing."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._coming_up = True

    def note(self, _number: int, _frame: object) -> None:
        first = not self._asked.is_set()
        self._asked.set()
        if first and self._coming_up:
            raise Interrupted

    def wait(self) -> None:
        self._coming_up = False
        self._asked.wait()


def _serve(
    stack: Stack, options: argparse.Namespace, terminal: Terminal, on_ready: OnReady, request: StopRequest
) -> int:
    supervisor = Supervisor(stack, terminal)
    code = 0
    try:
        bring_up = BringUp(stack, terminal, supervisor, os.environ)
        bring_up.run(proof=not options.no_proof)
        if options.report is not None:
            _write_report(options.report, bring_up.report())
        on_ready()
        request.wait()
        terminal.line("\nStopping; containers go on (`make down` stops them too).")
    except StepFailed as failure:
        terminal.problem(str(failure))
        code = 1
    except Interrupted:
        terminal.line("\nInterrupted; stopping what was started.")
        code = 130
    supervisor.stop()
    (stack.pids / "supervisor").unlink(missing_ok=True)
    return code


def _write_report(path: Path, facts: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file)


if __name__ == "__main__":
    sys.exit(main())
