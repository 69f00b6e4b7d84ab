"""Named places where a test has this process killed, or a part of it left out. Idle in any other instance.

A process is *armed* when ``SLIPWAY_CRASH`` names the points (with commas between, or ``all``) and its
instance is one of tests: ``swt…``. Then a token, an empty file ``<run>/crash/<point>``, has the first process
that comes by killed by SIGKILL; the token goes first, so it happens once. For as long as there is a file
``<run>/crash/without.<part>``, that part does nothing.

This module reads the environment itself: it belongs to both sides and must not cost a process that is not
armed more than one comparison.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EVERY = "all"
_TEST_INSTANCE = re.compile(r"swt[a-z0-9]+")


@dataclass(frozen=True)
class Armed:
    """Where tokens lie, and which points look for them."""

    directory: Path
    names: frozenset[str]

    def takes(self, name: str) -> bool:
        """Whether this process is the one to die at ``name``: the token is used up then."""
        if EVERY not in self.names and name not in self.names:
            return False
        try:
            (self.directory / name).unlink()
        except OSError:  # no token, or another process took it
            return False
        return True

    def is_without(self, part: str) -> bool:
        return (self.directory / f"without.{part}").exists()


def read(variables: Mapping[str, str]) -> Armed | None:
    """None unless the environment names points and the instance is one of tests."""
    names = frozenset(filter(None, variables.get("SLIPWAY_CRASH", "").split(",")))
    run, instance = variables.get("SLIPWAY_RUN", ""), variables.get("SLIPWAY_INSTANCE", "")
    if not names or not run or not _TEST_INSTANCE.fullmatch(instance):
        return None
    return Armed(Path(run) / "crash", names)


_armed = read(os.environ)


def point(name: str) -> None:
    """A step has been taken, or is about to be; a test may have this process die right here."""
    if _armed is not None and _armed.takes(name):
        os.kill(os.getpid(), signal.SIGKILL)


def is_without(part: str) -> bool:
    """A test wants to see what happens when ``part`` does nothing."""
    return _armed is not None and _armed.is_without(part)
