"""What one process set is made of: places, names and the port, read once from the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE_USER = "slipway"


@dataclass(frozen=True)
class Stack:
    """One instance. Two of them run side by side when data, run, instance and port differ."""

    data: Path
    run: Path
    node: str
    instance: str
    port: int
    python: Path
    """Interpreter of the virtual environment the processes run in."""
    extra: Mapping[str, str]
    """Every other SLIPWAY_ variable, passed on as it came."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def work(self) -> Path:
        """Where root's processes work. Celery imports from it, so nobody else may put anything there."""
        return self.run / "work"

    @property
    def lock(self) -> Path:
        return self.run / "up.lock"

    @property
    def redis_socket(self) -> Path:
        return self.run / "redis.sock"

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"

    def environment(self) -> dict[str, str]:
        """The whole environment of a child process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        return {
            **inherited,
            **self.extra,
            "SLIPWAY_DATA": str(self.data),
            "SLIPWAY_RUN": str(self.run),
            "SLIPWAY_NODE": self.node,
            "SLIPWAY_INSTANCE": self.instance,
            "SLIPWAY_PORT": str(self.port),
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # `python -m` must import nothing from where it happens to run
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        }


def read_stack(environ: Mapping[str, str]) -> Stack:
    """Raise ``ValueError`` with a sentence for people when a variable cannot be used."""
    known = {"SLIPWAY_DATA", "SLIPWAY_RUN", "SLIPWAY_NODE", "SLIPWAY_INSTANCE", "SLIPWAY_PORT"}
    return Stack(
        data=_absolute(environ, "SLIPWAY_DATA", "/var/lib/slipway"),
        run=_absolute(environ, "SLIPWAY_RUN", "/run/slipway"),
        node=environ.get("SLIPWAY_NODE", "local"),
        instance=environ.get("SLIPWAY_INSTANCE", "slipway"),
        port=_port(environ.get("SLIPWAY_PORT", "8000")),
        python=Path(sys.executable),
        extra={k: v for k, v in environ.items() if k.startswith("SLIPWAY_") and k not in known},
    )


def _absolute(environ: Mapping[str, str], name: str, default: str) -> Path:
    path = Path(environ.get(name) or default)
    if not path.is_absolute():
        raise ValueError(f"{name}={path}: an absolute path is needed.")
    return path


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"SLIPWAY_PORT={text}: a number from 1 to 65535 is needed.")
    return int(text)
