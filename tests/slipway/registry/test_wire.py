"""The registry behind its real server: what is on the wire, and what a connection is good for afterwards."""

from __future__ import annotations

import asyncio
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.db import connections

from slipway.accounts.services import issue_token
from slipway.blobs.directory import DirectoryStore
from slipway.projects.models import Project
from slipway.registry.application import Registry
from slipway.registry.desk import Desk
from slipway.repositories.documents import MAX_SIZE
from tests.factories import make_actor, make_project
from tests.registries import Fault, door
from tests.registry_client import digest_of, nothing_else
from tests.wire_client import WireClient

T = TypeVar("T")
DATA = b"data" * 1000
BODY = b"x" * 300_000


async def in_a_thread(function: Callable[[], T], *, writes: bool = False, together: bool = False) -> T:
    return await sync_to_async(function)()


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """Its ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the process is pytest's

    async def serve() -> None:
        await server.serve([listener])
        await sync_to_async(connections.close_all)()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[WireClient]:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    actor = make_actor(make_project(slug="shop").team, username="dora")
    token = issue_token(actor, "laptop", scopes=["read", "write"])[1]
    store = DirectoryStore(tmp_path / "blobs")
    with serving(Registry(nothing_else, Desk(in_a_thread, store, lambda repository: None))) as host:
        made = WireClient(host, "dora", token)
        yield made
        made.close()


@pytest.fixture
def path(client: WireClient) -> str:
    return f"{Project.objects.select_related('team').get(slug='shop').path}/web"


class Line:
    """One connection, byte by byte."""

    def __init__(self, client: WireClient) -> None:
        host, _, port = client.registry.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.known = b64encode(f"{client.user}:{client.password}".encode()).decode()
        self.host = client.registry

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, method: str, address: str, *headers: str, known: bool = True) -> None:
        lines = [f"{method} {address} HTTP/1.1", f"Host: {self.host}", *headers]
        lines += [f"Authorization: Basic {self.known}"] if known else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def heard(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, and the body, if one is to come. Not a byte more is read."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            assert byte, f"the connection ended after {head!r}"
            head += byte
        first, *rest = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        data = b""
        while body and len(data) < int(headers.get("content-length", "0")):
            data += self.socket.recv(1 << 16)
        return int(first.split()[1]), headers, data


def test_an_answer_without_a_body_has_none_on_the_wire(client: WireClient, path: str) -> None:
    """HEAD, 204 and 304, whatever their headers say: the answer to the next request follows at once."""
    blob = f"/v2/{path}/blobs/{client.push_blob(path, DATA)}"
    nowhere = f"/v2/{path}/blobs/{digest_of(b'nowhere')}"
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    with Line(client) as line:
        for _ in range(2):
            for address, known, status in ((blob, True, 200), (nowhere, True, 404), (blob, False, 401)):
                line.say("HEAD", address, known=known)
                found, headers, _ = line.heard(body=False)
                assert (found, "transfer-encoding" in headers) == (status, False)
                assert headers.get("connection") != "close"
            line.say("GET", blob, f'If-None-Match: "{digest_of(DATA)}"')
            assert line.heard(body=False)[0] == 304
            line.say("GET", location)
            status, headers, _ = line.heard(body=False)
            assert (status, headers.keys() & {"content-length", "transfer-encoding"}) == (204, set())
        line.say("GET", blob)
        assert line.heard()[2] == DATA


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_outlives_a_refusal_that_left_the_body_unread(
    client: WireClient, path: str, chunked: bool
) -> None:
    blob = f"/v2/{path}/blobs/{client.push_blob(path, DATA)}"
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(BODY)}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
    refusals = (
        ("PATCH", location, False, 401),
        ("PATCH", f"{location[:-4]}0000", True, 404),
        ("PUT", f"{location}?digest=nonsense", True, 400),
        ("POST", "/v2/", True, 405),
    )
    with Line(client) as line:
        for method, address, known, status in refusals:
            line.say(method, address, framing, "Content-Range: 0-299999", known=known)
            assert line.heard()[0] == status  # before a byte of the body was sent
            line.socket.sendall(body)
            line.say("HEAD", blob)
            assert line.heard(body=False)[0] == 200


def test_who_sends_far_too_much_hears_why_before_the_connection_ends(client: WireClient, path: str) -> None:
    with Line(client) as line:
        line.say("PUT", f"/v2/{path}/manifests/v1", f"Content-Length: {MAX_SIZE * 2}")
        line.socket.sendall(bytes(MAX_SIZE * 2))
        status, headers, body = line.heard()
        assert (status, headers["connection"], b"MANIFEST_INVALID" in body) == (413, "close", True)
        assert line.socket.recv(1) == b""


def test_a_lost_answer_is_the_networks_doing_and_the_next_request_is_answered(
    client: WireClient, path: str
) -> None:
    """The door drops the answer to a HEAD; nothing of that reaches other answers of the registry."""
    blob = f"/v2/{path}/blobs/{client.push_blob(path, DATA)}"
    with door(client.registry) as front:
        through = WireClient(front.host, client.user, client.password)
        front.plan = lambda asked: Fault(drop_answer=True) if len(front.asked) % 2 else None
        for _ in range(10):
            with pytest.raises(ConnectionError):
                through.call("HEAD", blob)
            through.close()
            assert through.call("HEAD", blob).status == 200
        through.close()
