"""A fake server, and the command called as a function."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.main import main
from tests.slipway.cli.server import Server, serving

TOKEN = "slp_abcdefgh_secret"


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, output, remarks."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Slipway = Callable[..., Done]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's contexts are kept; no variable of the caller's is heeded."""
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        if name in ("SLIPWAY_URL", "SLIPWAY_TOKEN", "SLIPWAY_PROJECT", "SLIPWAY_CONTEXT"):
            monkeypatch.delenv(name)
    path = tmp_path / "home" / "slipway" / "config.toml"
    monkeypatch.setenv("SLIPWAY_CONFIG", str(path))
    return path


@pytest.fixture
def slipway(config: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Slipway:
    def call(*arguments: str) -> Done:
        capfdbinary.readouterr()
        code = main(arguments)
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode(), err.decode())

    return call


@pytest.fixture
def signed_in(server: Server, slipway: Slipway, monkeypatch: pytest.MonkeyPatch) -> Slipway:
    """The command of somebody who works in ``acme/web`` on the fake server."""
    monkeypatch.setenv("SLIPWAY_URL", server.url)
    monkeypatch.setenv("SLIPWAY_TOKEN", TOKEN)
    monkeypatch.setenv("SLIPWAY_PROJECT", "acme/web")
    return slipway
