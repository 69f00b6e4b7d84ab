"""A server that answers as told: enough of REST for the command line, and all the ways to break off."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request, as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def lies_at(self, pattern: re.Pattern[str]) -> bool:
        """As it was sent, or as a server understands it."""
        return any(pattern.fullmatch(path) for path in (self.path, unquote(self.path)))


Answer = Callable[[Asked, BaseHTTPRequestHandler], Any]


@dataclass
class Server:
    """``on`` says what is answered: a JSON value, or a function of the request that may write by itself."""

    url: str = ""
    routes: list[tuple[str, re.Pattern[str], Any, int]] = field(default_factory=list)
    seen: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        """The route given last counts; ``path`` is a pattern below ``/api/v1``."""
        self.routes.insert(0, (method, re.compile(f"/api/v1{path}"), answer, status))

    def outside(self, path: str, answer: Any) -> None:
        """A route that does not lie below ``/api/v1``."""
        self.routes.insert(0, ("GET", re.compile(path), answer, 200))

    def refuse(self, method: str, path: str, status: int, code: str, detail: str = "It is so.") -> None:
        self.on(method, path, {"code": code, "detail": detail, "status": status}, status)

    def asked(self, method: str, path: str) -> list[Asked]:
        pattern = re.compile(f"/api/v1{path}")
        return [each for each in self.seen if each.method == method and each.lies_at(pattern)]

    def page(self, path: str, *items: dict[str, Any]) -> None:
        self.on("GET", path, {"items": list(items), "next": None})


class Handler(BaseHTTPRequestHandler):
    """Subclassed with the ``told`` of one server."""

    protocol_version = "HTTP/1.1"
    told: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, query, self._body(headers), headers)
        self.told.seen.append(asked)
        for method, pattern, answer, status in self.told.routes:
            if method == asked.method and asked.lies_at(pattern):
                found = answer(asked, self) if callable(answer) else answer
                if found is not None:
                    send(self, found, status)
                return
        send(self, {"code": "NOT_FOUND", "detail": f"There is nothing at {asked.path}."}, 404)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: Any) -> None:
        pass


def send(handler: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
    text = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def send_pieces(
    handler: BaseHTTPRequestHandler,
    pieces: list[bytes],
    *,
    whole: bool,
    until: threading.Event | None = None,
) -> None:
    """A chunked answer; one that is not ``whole`` ends as when a server dies; ``until`` keeps it open."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/x-ndjson")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    if until is not None:
        handler.wfile.flush()
        whole = until.wait(30)
    if whole:
        handler.wfile.write(b"0\r\n\r\n")
    handler.wfile.flush()
    handler.close_connection = True


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Handler,), {"told": server}))
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
