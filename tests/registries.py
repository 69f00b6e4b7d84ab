"""Registries on loopback: Debian's own, and a door in front of it that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "ada", "secret"
_HTPASSWD = "ada:$2b$04$MsypPqcnrIUI5lX/pNtEbeiph.3hNuHPXkZWlIvcmBPlb8eJ.MehO\n"
_PIECE = 64 << 10


@dataclass
class DebianRegistry:
    """The `docker-registry` of Debian's packages, with storage of its own."""

    host: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])


@contextlib.contextmanager
def debian_registry(*, with_password: bool = False) -> Iterator[DebianRegistry]:
    """``with_password``: only for ``USER``."""
    directory = Path(tempfile.mkdtemp(prefix="slipway-registry-", dir="/dev/shm"))
    port = free_port()
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the tests"},
    }
    if with_password:
        (directory / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log
        )
    try:
        _await(port, process, directory / "log")
        yield DebianRegistry(f"127.0.0.1:{port}", process)
    finally:
        process.kill()  # asked nicely, it waits for seconds
        process.wait(20)
        shutil.rmtree(directory)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"docker-registry did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --------------------------------------------------------------------------- a door that misbehaves


@dataclass(frozen=True)
class Asked:
    """A request as the door saw it."""

    method: str
    path: str
    headers: dict[str, str]
    door: str


@dataclass(frozen=True)
class Fault:
    """What happens to a request in place of, or during, its passing."""

    status: int = 0
    """Answer this and pass nothing on."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_answer: int | None = None
    """End the connection after so many bytes of the answer's body."""
    cut_request: int | None = None
    """Pass on so many bytes of the request's body, then end both connections."""
    drop_answer: bool = False
    """The request is carried out, its answer is lost."""
    hold: threading.Event | None = None
    """Half of the answer's body, then nothing until this is set."""
    without_ranges: bool = False


Plan = Callable[[Asked], Fault | None]


@dataclass
class Door:
    """Passes requests on to ``upstream``; ``plan`` says what goes wrong. With ``users`` it wants tokens."""

    upstream: str
    plan: Plan = lambda asked: None
    users: dict[str, str] | None = None
    anonymous: bool = False
    """Tokens to pull are given to anybody."""
    token_uses: int = 1_000_000
    asked: list[Asked] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    host: str = ""

    def count(self, method: str, part: str) -> int:
        return sum(1 for each in self.asked if each.method == method and part in each.path)


@contextlib.contextmanager
def door(upstream: str, **more: Any) -> Iterator[Door]:
    state = Door(upstream, **more)
    server = _Server(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Door) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        door = state

    return Handler


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Clients with many connections at once wait for nobody's second try."""


class _Cut(Exception):
    """The connection ends here."""


class _Handler(BaseHTTPRequestHandler):
    door: Door
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def handle_any(self) -> None:
        asked = Asked(self.command, self.path, dict(self.headers.items()), self.door.host)
        self.door.asked.append(asked)
        try:
            if self.path.startswith("/token"):
                self._give_token()
                return
            fault = self.door.plan(asked) or Fault()
            if fault.status:
                self._answer(fault.status, fault.headers, fault.body)
            elif self.door.users is not None and not self._is_let_in():
                self._challenge()
            else:
                self._pass_on(fault)
        except (_Cut, OSError, http.client.HTTPException):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    # ------------------------------------------------------------------ tokens

    def _is_let_in(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        left = self.door.tokens.get(token, 0)
        if scheme != "Bearer" or not left:
            return False
        self.door.tokens[token] = left - 1
        return True

    def _challenge(self) -> None:
        challenge = f'Bearer realm="http://{self.door.host}/token",service="door of tests"'
        self._answer(401, {"WWW-Authenticate": challenge}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')

    def _give_token(self) -> None:
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        known = self.headers.get("Authorization") == "Basic YWRhOnNlY3JldA=="
        only_pulls = all(scope.endswith(":pull") for scope in scopes)
        if not known and not (self.door.anonymous and only_pulls and "Authorization" not in self.headers):
            self._answer(401, {}, b'{"errors":[{"code":"DENIED","message":"wrong password"}]}')
            return
        token = secrets.token_hex(8)
        self.door.tokens[token] = self.door.token_uses
        self._answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())

    # ------------------------------------------------------------------ passing on

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._drain()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drain(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self._body_piece(left))

    def _body_piece(self, left: int) -> bytes:
        piece = self.rfile.read(min(left, _PIECE))
        if not piece:
            raise _Cut  # by who sent it
        return piece

    def _pass_on(self, fault: Fault) -> None:
        connection = http.client.HTTPConnection(self.door.upstream, timeout=60)
        try:
            self._send(connection, fault)
            response = connection.getresponse()
            if fault.drop_answer:
                response.read()
                raise _Cut
            self._give_back(response, fault)
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, fault: Fault) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            is_ours = name.lower() == "authorization" and self.door.users is not None
            if is_ours or (fault.without_ranges and name.lower() == "range"):
                continue
            connection.putheader(name, value)
        connection.endheaders()
        left = int(self.headers.get("Content-Length") or 0)
        passed = 0
        while left:
            piece = self._body_piece(left)
            if fault.cut_request is not None and passed + len(piece) > fault.cut_request:
                connection.send(piece[: fault.cut_request - passed])
                raise _Cut
            connection.send(piece)
            left -= len(piece)
            passed += len(piece)

    def _give_back(self, response: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("date", "server", "connection"):
                self.send_header(name, value)
        self.end_headers()
        sent = 0
        size = int(response.headers.get("Content-Length") or 0)
        while self.command != "HEAD" and (piece := response.read(_PIECE)):
            if fault.cut_answer is not None and sent + len(piece) > fault.cut_answer:
                self.wfile.write(piece[: fault.cut_answer - sent])
                raise _Cut
            if fault.hold is not None and sent + len(piece) > size // 2:
                self.wfile.write(piece[: len(piece) // 2])
                fault.hold.wait(60)
                raise _Cut
            self.wfile.write(piece)
            sent += len(piece)
