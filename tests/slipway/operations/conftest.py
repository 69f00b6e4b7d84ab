"""Installations of the platform below a test's directory, driven by `manage.py` as an operator would."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.environment import ROOT


@dataclass(frozen=True)
class Installation:
    data: Path
    variables: dict[str, str]

    @property
    def keys(self) -> Path:
        return self.data / "platform" / "keys"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def manage(self, *arguments: str, **variables: str) -> str:
        """What it printed; its complaint fails the test."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refuse(self, *arguments: str, **variables: str) -> str:
        """Its complaint."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr

    def python(self, code: str) -> str:
        return self.manage("shell", "--no-imports", "--command", code).strip()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Installation]]:
    """Make installations that have a configuration and nothing else."""
    made: list[str] = []

    def make() -> Installation:
        directory = tmp_path_factory.mktemp("machine")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        variables |= {"SLIPWAY_DATA": str(directory / "data"), "SLIPWAY_RUN": str(directory / "run")}
        if url := os.environ.get("SLIPWAY_TEST_DATABASE_URL"):
            variables["SLIPWAY_DATABASE_URL"] = _new_database(url)
            made.append(variables["SLIPWAY_DATABASE_URL"])
        return Installation(directory / "data", variables)

    yield make
    for url in made:
        _on_server(url, f'DROP DATABASE "{urlsplit(url).path[1:]}"')


@pytest.fixture(scope="module")
def installation(empty: Callable[[], Installation]) -> Installation:
    """With keys, tables and an administrator; a node where the tests may make one."""
    made = empty()
    for directory in (made.keys, made.data / "platform" / "tmp"):
        directory.mkdir(parents=True)
    made.manage("init_keys")
    made.manage("migrate", "--verbosity", "0")
    made.manage("create_admin")
    if os.geteuid() == 0:
        made.manage("register_node")
        for name in ("images", "layers/ingest"):
            (made.data / "node" / name).mkdir(parents=True)
    return made


def _new_database(url: str) -> str:
    name = f"operations_{secrets.token_hex(4)}"
    _on_server(url, f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _on_server(url: str, statement: str) -> None:
    with psycopg.connect(urlunsplit(urlsplit(url)._replace(path="/postgres")), autocommit=True) as server:
        server.execute(statement)  # type: ignore[call-overload]  # the name is ours
