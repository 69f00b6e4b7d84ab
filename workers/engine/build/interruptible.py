"""A connection whose every wait asks whether it is still wanted: to connect, for TLS, to send, to receive.

A server that sends a byte now and then can hold up a plain socket's reader for as long as it likes; here
``check`` is asked all the while, and may raise to end it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_LOOK = 0.1
_BUFFER = 64 << 10

Check = Callable[[], None]
T = TypeVar("T")


def connect(address: str, port: int, silence: float, check: Check) -> Connection:
    """Raise ``OSError``; ``TimeoutError`` after ``silence`` seconds without a sign, then as ever after."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = Connection(socket.socket(family, socket.SOCK_STREAM), silence, check)
    try:
        connection.open(address, port)
    except BaseException:
        connection.close()
        raise
    return connection


class Connection:
    """As much of a socket as ``http.client`` needs."""

    def __init__(self, sock: socket.socket, silence: float, check: Check) -> None:
        self._sock, self._silence, self._check = sock, silence, check
        self._asked = 0.0
        self._users = 1
        sock.setblocking(False)

    def open(self, address: str, port: int) -> None:
        code = self._sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            self._wait(select.POLLOUT)
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        secured = context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
        self._sock = secured
        self._done(secured.do_handshake)

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = self._done(lambda rest=view: self._sock.send(rest), select.POLLOUT)  # type: ignore[misc]  # of this round
            view = view[sent:]

    def receive_into(self, buffer: memoryview) -> int:
        return self._done(lambda: self._sock.recv_into(buffer))

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"  # noqa: S101 - http.client's only wish
        self._users += 1
        return io.BufferedReader(_Incoming(self), _BUFFER)

    def close(self) -> None:
        """Once for itself and for each file made of it, as with a socket: the last one ends it."""
        self._users -= 1
        if self._users <= 0:
            self._sock.close()

    def _done(self, act: Callable[[], T], event: int = select.POLLIN) -> T:
        self._ask()
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except BlockingIOError:
                self._wait(event)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._sock.fileno(), event)
        until = time.monotonic() + self._silence
        while not poll.poll(_LOOK * 1000):
            self._ask()
            if time.monotonic() > until:
                raise TimeoutError

    def _ask(self) -> None:
        """Not for each of a thousand pieces a second."""
        now = time.monotonic()
        if now - self._asked >= _LOOK:
            self._asked = now
            self._check()


class _Incoming(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        return self._connection.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._connection.close()


def answered(ask: Callable[[], T], check: Check) -> T:
    """What ``ask`` returns or raises, asked in a thread that is left alone when ``check`` raises: for the
    resolver, which cannot be interrupted but has an end."""
    answers: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="resolver", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK)
        check()
    if failures:
        raise failures[0]
    return answers[0]
