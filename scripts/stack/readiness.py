"""Probes that say whether a process answers; each returns at once, False for every kind of trouble."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

import redis

PROBE_SECONDS = 2.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PROBE_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PROBE_SECONDS)
        self.sock.connect(self._path)


def http_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def web_ready(port: int, path: str = "/readyz") -> bool:
    return http_ok(http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_SECONDS), path)


def agent_ready(agent_socket: Path) -> bool:
    return http_ok(UnixConnection(agent_socket), "/v1/health")


class Broker:
    """What the instance's Redis tells about the processes that have no door of their own."""

    def __init__(self, redis_socket: Path, node: str) -> None:
        self._redis: Any = redis.Redis(unix_socket_path=str(redis_socket), socket_timeout=PROBE_SECONDS)
        self._node = node

    def answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except (redis.RedisError, OSError):
            return False

    def worker_listens(self) -> bool:
        """The worker waits for tasks: a client of this Redis blocks on a list, as only it does."""
        return any(client.get("cmd") == "brpop" for client in self._clients())

    def observer_applies(self) -> bool:
        """The observer has told how far it came; the key is written anew every second."""
        try:
            return self._redis.get(f"slipway:applied:{self._node}") is not None
        except (redis.RedisError, OSError):
            return False

    def heartbeat(self) -> dict[str, Any] | None:
        try:
            text = self._redis.get(f"slipway:heartbeat:{self._node}")
        except (redis.RedisError, OSError):
            return None
        return json.loads(text) if text else None

    def forget(self) -> None:
        """Drop what an earlier life of the observer said, so that the probe sees this one.

        Redis may be down just now; then the probe fails until it is back.
        """
        with contextlib.suppress(redis.RedisError, OSError):
            self._redis.delete(f"slipway:applied:{self._node}")

    def _clients(self) -> list[dict[str, str]]:
        try:
            return list(self._redis.client_list())
        except (redis.RedisError, OSError):
            return []
