"""`slipway run` in the foreground: the container's output is ours, its exit code too, and so is Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slipway.cli.client import Client, at
from slipway.cli.errors import CliError, Exit, Problem, Unreachable
from slipway.cli.following import PAUSES, Following, LogPrinter

WAIT_SECONDS = 30
ATTEMPTS = 30


@dataclass
class Interrupts:
    """First Ctrl-C: stop the container and see it end. Second: kill it. Third: leave it alone.

    The requests are made in the signal's handler, on connections of their own. Python repeats the read
    that the signal came into, so the log goes on as if nothing had been.
    """

    client: Client
    path: str = ""
    """Of the container, once it exists."""
    name: str = ""
    count: int = 0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def created(self, path: str, name: str) -> None:
        """The container exists now; an interrupt that came too early counts."""
        self.path, self.name = path, name
        if self.count:
            self._act()

    def _note(self, _number: int, _frame: object) -> None:
        self.count += 1
        if self.path:
            self._act()
        elif self.count > 1:
            raise KeyboardInterrupt

    def _act(self) -> None:
        if self.count > 2:
            raise KeyboardInterrupt
        try:
            if self.count == 1:
                _tell(f"Stopping {self.name}; Ctrl-C again kills it.")
                self.client.post(f"{self.path}/stop")
            else:
                _tell(f"Killing {self.name}; Ctrl-C again leaves it alone.")
                self.client.post(f"{self.path}/kill", {"signal": "SIGKILL"})
        except Problem as error:
            if error.code not in ("CONTAINER_NOT_RUNNING", "CONTAINER_REMOVED"):
                _tell(error.sentence())
        except CliError as error:
            _tell(f"{error.sentence()} The container goes on; Ctrl-C again tries on, a third one leaves.")


def _tell(text: str) -> None:
    """Not by ``print``: the signal may have come while that was writing."""
    os.write(2, f"\nslipway: {text}\n".encode())


def create(client: Client, below: str, body: dict[str, Any]) -> dict[str, Any]:
    """The container. Where the answer is lost the request is sent again, under its key: there will be one."""
    import time
    import uuid

    key = uuid.uuid4().hex
    for pause in (*PAUSES, None):
        try:
            found: dict[str, Any] = client.post(below, body, key=key)
            break
        except Unreachable as error:
            # Whom nobody answers at the first try is told so, not kept waiting.
            if pause is None or (isinstance(error.__cause__, ConnectionRefusedError) and pause == PAUSES[0]):
                raise
            time.sleep(pause)
    return found


def follow(client: Client, path: str, printer: LogPrinter) -> dict[str, Any]:
    """Print the log from its beginning until the container has ended; the container as it is then."""
    reading = Following(client, f"{path}/logs", follow=True, position=0)
    for batch in reading.batches():
        printer.print(batch)
    return wait(client, path)


def wait(client: Client, path: str, condition: str = "not-running") -> dict[str, Any]:
    """The container once ``condition`` holds, however long it takes; the server may be away for a moment."""
    import time

    failures = 0
    while True:
        try:
            query = {"condition": condition, "timeout": WAIT_SECONDS}
            answer = client.get(f"{path}/wait", query, timeout=WAIT_SECONDS + 15.0)
            failures = 0
            if answer["reached"]:
                return dict(answer["container"])
        except Unreachable:
            failures += 1
            if failures > ATTEMPTS:
                raise
            time.sleep(PAUSES[min(failures, len(PAUSES) - 1)])


def exit_code(container: dict[str, Any]) -> int:
    """The container's own code. Raise ``CliError`` when it never ran or nobody knows how it ended."""
    code, cause = container["exit_code"], container["cause"]
    if cause and (code is None or container["started_at"] is None):
        raise CliError(
            cause["message"],
            code=cause["code"],
            hint=f"`slipway inspect {container['name']}` tells more.",
            exit_code=Exit.RUN_FAILED if code is None else code,
        )
    if code is None:
        raise CliError(
            f"How {container['name']} ended is not known.", code="OUTCOME_UNKNOWN", exit_code=Exit.RUN_FAILED
        )
    return int(code)


def remove(client: Client, path: str) -> None:
    client.delete(path, {"force": True})


def path_of(below: str, container: dict[str, Any]) -> str:
    return below + at(container["id"])
