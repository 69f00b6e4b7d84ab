"""Django's management commands, as the user the platform runs as."""

from __future__ import annotations

import pwd
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from stack.settings import ROOT, Stack

_IMPROPER = "django.core.exceptions.ImproperlyConfigured: "


class StepFailed(Exception):
    """A step of bringing the process set up did not work; the text is for people."""


@dataclass(frozen=True)
class PlatformCommands:
    stack: Stack
    user: str | None

    def as_root(self) -> PlatformCommands:
        return replace(self, user=None)

    def run(self, *arguments: str, heard: Callable[[str], None] = lambda _: None) -> str:
        """What the command printed, line by line to ``heard`` as it comes.

        Raise ``StepFailed`` with its last words when it fails.
        """
        with tempfile.TemporaryFile("w+") as complaints:
            process = subprocess.Popen(
                [str(self.stack.python), str(ROOT / "manage.py"), *arguments],
                cwd=ROOT,
                env=self.stack.environment() | {"HOME": str(self.stack.data / "platform")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                **self._identity(),  # type: ignore[call-overload]  # one of two fixed shapes
            )
            said = _listen(process, heard)
            if process.wait() != 0:
                complaints.seek(0)
                last = _last_words(complaints.read() or said)
                raise StepFailed("\n    ".join([f"`manage.py {arguments[0]}` failed:", *last]))
        return said

    def _identity(self) -> dict[str, int | list[int]]:
        if self.user is None:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _listen(process: subprocess.Popen[str], heard: Callable[[str], None]) -> str:
    said = []
    try:
        with process.stdout or nullcontext(()) as output:
            for line in output:
                said.append(line)
                heard(line)
    except BaseException:  # interrupted: the command must not outlive us
        process.terminate()
        process.wait()
        raise
    return "".join(said)


def _last_words(text: str) -> list[str]:
    """The end of it; of a setting that cannot be, only the sentence about it."""
    lines = text.strip().splitlines()
    if lines and lines[-1].startswith(_IMPROPER):
        return [lines[-1].removeprefix(_IMPROPER)]
    return lines[-15:]


def wait_until(condition: Callable[[], bool], seconds: float, *, alive: Callable[[], bool]) -> bool:
    """Poll until the condition holds; False when time is over or the process it is about has gone."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(0.05)
    return True
