"""The server's protocol over real connections: bodies in pieces, files from memory, clients that leave."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from slipway.serving import FILES, Gathered

DATA = os.urandom(1 << 16) * 160  # 10 MiB: more than the buffers of a connection take


class Application:
    """Answers the length of a body, or the file in pieces; notes what became of it."""

    def __init__(self, file: Path) -> None:
        self.file = os.open(file, os.O_RDONLY)
        self.sent: list[int] = []
        self.pieces = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await self._count(receive, send)
            return
        length = str(len(DATA)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        position = 0
        while position < len(DATA):
            sent = await scope["extensions"][FILES].send(self.file, position, len(DATA) - position)
            self.sent.append(sent)
            if not sent:
                return
            position += sent
        await send({"type": "http.response.body", "body": b""})

    async def _count(self, receive: Any, send: Any) -> None:
        came, more = 0, True
        while more:
            message = await receive()
            came, more = came + len(message["body"]), message["more_body"]
            assert type(message["body"]) is bytes
            self.pieces += 1
            await asyncio.sleep(0)
        body = str(came).encode()
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    file = tmp_path / "blob"
    file.write_bytes(DATA)
    made = Application(file)
    yield made
    os.close(made.file)


@pytest.fixture(params=["uvloop", "asyncio"])
def port(application: Application, request: pytest.FixtureRequest) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http="slipway.serving:Protocol", loop=request.param, lifespan="off", log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    listener.close()
    assert not thread.is_alive()


def ask(port: int, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(request)
    return connection


def read(connection: socket.socket, size: int, pause: float = 0.0) -> bytes:
    data = bytearray()
    while len(data) < size and (came := connection.recv(1 << 18)):
        data += came
        time.sleep(pause)
    return bytes(data)


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["fast", "slow"])
def test_a_file_comes_whole_and_the_connection_goes_on(
    port: int, application: Application, pause: float
) -> None:
    with ask(port, GET) as connection:
        for _ in range(2):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            assert read(connection, len(DATA), pause) == DATA
            connection.sendall(GET)
    assert sum(application.sent) >= 2 * len(DATA)


def test_who_leaves_in_the_middle_ends_the_sending(port: int, application: Application) -> None:
    with ask(port, GET) as connection:
        connection.recv(1000)
    deadline = time.monotonic() + 20
    while 0 not in application.sent and time.monotonic() < deadline:
        time.sleep(0.01)
    assert application.sent[-1] == 0
    assert sum(application.sent) < len(DATA)


def test_a_body_comes_whole(port: int, application: Application) -> None:
    head = f"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(DATA)}\r\n\r\n"
    with ask(port, head.encode() + DATA) as connection:
        answer = read(connection, 1000)
    assert answer.endswith(str(len(DATA)).encode())
    assert application.pieces > 1


def test_one_piece_is_not_copied() -> None:
    piece = b"x" * 1000
    gathered = Gathered()
    gathered += piece
    assert bytes(gathered) is piece
    gathered += b"yz"
    assert (len(gathered), bytes(gathered)) == (1002, piece + b"yz")
