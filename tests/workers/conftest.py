"""Fixtures of the worker's and the agent's tests: a private Redis, and waiting without sleeping for luck."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

DEADLINE = 20.0


def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Return as soon as ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {DEADLINE:g} s: {what or condition}")
        time.sleep(0.005)


@dataclass
class PrivateRedis:
    """A redis-server on a unix socket, nothing kept on disk."""

    socket: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> Redis:
        return Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        argv = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=self.socket.parent)
        with self.client() as client:
            eventually(lambda: _answers(client), "redis-server answers")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False


@pytest.fixture
def redis_server() -> Iterator[PrivateRedis]:
    """Its directory has a short name: a unix socket's path has at most 107 characters."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    directory = Path(tempfile.mkdtemp(prefix="slipway-redis-"))
    server = PrivateRedis(directory / "redis.sock")
    server.start()
    yield server
    server.kill()
    shutil.rmtree(directory)
