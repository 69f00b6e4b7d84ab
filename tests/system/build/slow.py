"""Servers that say little, and slowly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Serve = Callable[[socket.socket], bytes]
"""Says what it says at once, and returns what it goes on with from then on."""


@contextmanager
def slow(serve: Serve) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        over = threading.Event()
        threads: list[threading.Thread] = []

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(0.1)
                more = serve(connection)
                while not over.wait(0.1):
                    connection.sendall(more)

        def accept() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    thread = threading.Thread(target=one, args=(listening.accept()[0],))
                    threads.append(thread)
                    thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            for thread in (accepting, *threads):
                thread.join()


def body_by_the_byte(connection: socket.socket) -> bytes:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    return b"x"


def headers_by_the_byte(connection: socket.socket) -> bytes:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    return b"x"


def nothing(connection: socket.socket) -> bytes:
    return b""
