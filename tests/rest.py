"""A small client of the REST API for tests: bearer token, JSON, problem documents, patience."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Problem(Exception):
    """The server's answer was a problem document."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status = status
        self.body = body

    @property
    def code(self) -> str:
        return str(self.body.get("code"))


class Unreachable(Exception):
    """Nobody answered, or the connection broke half-way."""


class Rest:
    """``project`` is ``team/project``; paths are relative to ``/api/v1``."""

    def __init__(self, url: str, token: str, project: str) -> None:
        self.base = f"{url.rstrip('/')}/api/v1"
        self.token = token
        self.project = project

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """The raw answer; raise ``Problem`` on a status of 400 and above, ``Unreachable`` on none."""
        request = urllib.request.Request(f"{self.base}{path}", data=body, method=method, headers=headers)
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return cast(bytes, answer.read())
        except urllib.error.HTTPError as error:
            raise Problem(error.code, _problem(error.read())) from error
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON, or None for an empty one."""
        payload = None if body is None else json.dumps(body).encode()
        answer = self.send(method, path, payload, **{"Content-Type": "application/json"})
        return json.loads(answer) if answer else None

    def create(self, name: str, *command: str, image: str = "busybox", **more: Any) -> dict[str, Any]:
        """Create and start a container; give back the one that is there if a lost answer hid it."""
        wanted = {"name": name, "image": image, "command": list(command), "start": True, **more}
        try:
            return cast(dict[str, Any], self.call("POST", self.containers(), wanted))
        except Problem as problem:
            if problem.code != "NAME_TAKEN":
                raise
            return self.inspect(name)

    def containers(self, name: str = "", action: str = "") -> str:
        path = f"/projects/{self.project}/containers"
        return "/".join(part for part in (path, name, action) if part)

    def inspect(self, name: str) -> dict[str, Any]:
        return cast(dict[str, Any], self.call("GET", self.containers(name)))

    def log(self, name: str) -> list[str]:
        answer = self.send("GET", self.containers(name, "logs"), Accept="text/plain")
        return answer.decode(errors="replace").splitlines()

    def wait(self, name: str, state: str = "exited", seconds: float = 30) -> dict[str, Any]:
        """The container once it is in ``state``."""
        return until(lambda: self._in_state(name, state), seconds, f"{name} is not {state}")

    def _in_state(self, name: str, state: str) -> dict[str, Any] | None:
        found = self.inspect(name)
        return found if found["state"] == state else None


def until(look: Callable[[], T | None], seconds: float, complaint: str) -> T:
    """What ``look`` finds before the deadline; a server away for a moment does not count."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = look()
        except Unreachable as error:
            last = error
        else:
            if found is not None:
                return found
        time.sleep(0.05)
    raise AssertionError(f"{complaint} after {seconds:.0f} s ({last})")


def _problem(body: bytes) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], json.loads(body))
    except ValueError:
        return {"detail": body[:200].decode(errors="replace")}
