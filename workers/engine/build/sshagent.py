"""An agent on a unix socket, for the time of one step: its keys stay in this process."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.engine.build.sshkeys import FAILURE, MESSAGE_MAX, Key, answer

_CONNECTIONS = 16
"""At once; each is a thread of ours."""
_PACE = 0.02
"""Seconds between two signatures: whoever signs in a loop uses our time, not the build's."""
_SHUTDOWN_WAIT = 5.0


@contextmanager
def listening(path: Path, keys: tuple[Key, ...]) -> Iterator[None]:
    """While it lasts, ``path`` is a socket that answers with ``keys``; only its owner is let in."""
    agent = _Agent(path, keys)
    try:
        yield
    finally:
        agent.close()


class _Agent:
    def __init__(self, path: Path, keys: tuple[Key, ...]) -> None:
        self._keys = keys
        self._pace = threading.Lock()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _bind(self._socket, path)
            self._socket.listen(_CONNECTIONS)
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._accept, name="ssh-agent", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is answered any longer."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_SHUTDOWN_WAIT)
        self._socket.close()
        with self._lock:
            left = dict(self._open)
        for connection, thread in left.items():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_SHUTDOWN_WAIT)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # it was shut
            thread = threading.Thread(target=self._serve, args=(connection,), name="ssh-agent", daemon=True)
            with self._lock:
                is_welcome = len(self._open) < _CONNECTIONS
                if is_welcome:
                    self._open[connection] = thread
            if is_welcome:
                thread.start()
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError), connection:
                while message := _receive(connection):
                    reply = self._answer(message)
                    connection.sendall(struct.pack(">I", len(reply)) + reply)
        finally:
            with self._lock:
                del self._open[connection]

    def _answer(self, message: bytes) -> bytes:
        with self._pace:
            time.sleep(_PACE)
            try:
                return answer(self._keys, message)
            except ValueError:  # of the cryptography, for data it does not like
                return FAILURE


def _bind(listener: socket.socket, path: Path) -> None:
    """However long the path is: a socket's address has 108 bytes."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _receive(connection: socket.socket) -> bytes:
    """One message without its length; empty at the end, or when it is too long to be one."""
    head = _exactly(connection, 4)
    size = int.from_bytes(head, "big") if len(head) == 4 else 0
    if not 0 < size <= MESSAGE_MAX:
        return b""
    message = _exactly(connection, size)
    return message if len(message) == size else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return bytes(data)
