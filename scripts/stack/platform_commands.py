"""Django's management commands, as the user the platform runs as."""

from __future__ import annotations

import pwd
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from stack.settings import ROOT, Stack

COMMAND_SECONDS = 600


class StepFailed(Exception):
    """A step of bringing the process set up did not work; the text is for people."""


@dataclass(frozen=True)
class PlatformCommands:
    stack: Stack
    user: str | None

    def run(self, *arguments: str, input: str = "") -> str:
        """What the command printed. Raise ``StepFailed`` with its last words when it fails."""
        done = subprocess.run(
            [str(self.stack.python), str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=self.stack.environment() | {"HOME": str(self.stack.data / "platform")},
            input=input,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            **self._identity(),
        )
        if done.returncode != 0:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
            raise StepFailed(f"`manage.py {arguments[0]}` failed:\n{last}")
        return done.stdout

    def _identity(self) -> dict[str, int | list[int]]:
        if self.user is None:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def wait_until(condition: Callable[[], bool], seconds: float, *, alive: Callable[[], bool]) -> bool:
    """Poll until the condition holds; False when time is over or the process it is about has gone."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(0.05)
    return True
