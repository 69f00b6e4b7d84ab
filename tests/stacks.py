"""A complete process set for system and end-to-end tests, apart from everything else on the machine."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack import pidfiles
from tests.environment import ROOT, instance, scratch
from tests.rest import Rest

START_SECONDS = 180
PROJECT = "tests/playground"


@dataclass(frozen=True)
class RunningStack:
    """What `make up` answered, and how to reach it."""

    url: str
    token: str
    """Of the administrator, with every scope."""
    admin: str
    password: str
    project: str
    """One that exists, as ``team/project``."""
    environment: Mapping[str, str]
    """For commands that shall speak to this instance."""

    @property
    def data(self) -> Path:
        return Path(self.environment["SLIPWAY_DATA"])

    @property
    def run(self) -> Path:
        return Path(self.environment["SLIPWAY_RUN"])

    @property
    def instance(self) -> str:
        return self.environment["SLIPWAY_INSTANCE"]

    def pid(self, name: str) -> int | None:
        """Of ``redis``, ``web``, ``observer``, ``worker`` or ``agent``, while it runs."""
        return pidfiles.read(self.run / "pids" / name)

    def manage(self, *arguments: str) -> str:
        """Run a management command against this instance and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def stop(self) -> None:
        """Stop every process and container, and drop all data."""
        down(self.environment)
        shutil.rmtree(self.data.parent, ignore_errors=True)


def environment() -> dict[str, str]:
    """Variables of an instance nobody else uses; its directories lie in a fresh scratch directory."""
    directory = scratch()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    return clean | {
        "SLIPWAY_DATA": str(directory / "data"),
        "SLIPWAY_RUN": str(directory / "run"),
        "SLIPWAY_INSTANCE": instance(),
        "SLIPWAY_PORT": str(free_port()),
        "SLIPWAY_SUBNETS": free_range(),
        "SLIPWAY_UID_BASE": str(random.randrange(100, 20_000) << 16),
        # Registries of the tests are at home here.
        "SLIPWAY_REGISTRIES_PRIVATE": "127.0.0.1",
        "SLIPWAY_REGISTRIES_PLAIN_HTTP": "127.0.0.1",
    }


def start(variables: Mapping[str, str] | None = None, *arguments: str) -> RunningStack:
    """Bring a process set up and wait until it is ready; raise with its output when it is not."""
    variables = variables or environment()
    report = Path(variables["SLIPWAY_DATA"]).parent / "report.json"
    command = [sys.executable, "scripts/up.py", "--detach", "--no-proof", "--report", str(report), *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"The process set did not come up:\n{done.stdout}\n{done.stderr}")
    facts = json.loads(report.read_text())
    report.unlink()
    rest = Rest(facts["url"], facts["token"], PROJECT)
    team, _, project = PROJECT.partition("/")
    if project not in [found["slug"] for found in rest.call("GET", "/projects")["items"]]:
        rest.call("POST", "/teams", {"slug": team})
        rest.call("POST", "/projects", {"team": team, "slug": project})
    return RunningStack(environment=variables, project=PROJECT, **facts)


def down(variables: Mapping[str, str]) -> str:
    """`make down` for the instance; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "scripts/down.py"],
        cwd=ROOT,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def free_range() -> str:
    """Addresses for sixteen projects that no other run on this machine has a bridge for."""
    routes = Path("/proc/net/route").read_text().split()
    while True:
        second, third = random.randrange(90, 100), random.randrange(128, 256, 16)
        if not any(f"00{third + each:02X}{second:02X}0A" in routes for each in range(16)):
            return f"10.{second}.{third}.0/20"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
