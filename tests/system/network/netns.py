"""A node, the world around it and containers, each a network namespace without anything else."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
PATIENCE = 10.0
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def enter(namespace: Path | int) -> None:
    """Move this thread."""
    descriptor = os.open(namespace, os.O_RDONLY) if isinstance(namespace, Path) else namespace
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        if isinstance(namespace, Path):
            os.close(descriptor)


@dataclass(frozen=True)
class Place:
    """A namespace held by a sleeping process."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def path(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    def do(self, action: Callable[[], T]) -> T:
        """Carry out something in there, in a thread that ends with it."""
        results: list[T] = []
        failures: list[BaseException] = []

        def body() -> None:
            try:
                enter(self.path)
                results.append(action())
            except BaseException as error:  # noqa: BLE001 - carried over to the test's thread
                failures.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def ip(self, *arguments: str) -> str:
        command = ["nsenter", f"--net={self.path}", "ip", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        return self.do(lambda: socket.socket(family, kind))

    def listen(self, address: str, port: int) -> socket.socket:
        made = self.socket()
        made.settimeout(5)
        made.bind((address, port))
        made.listen()
        return made

    def dials(self, address: str, port: int, source: str | None = None) -> bool:
        """Whether a connection comes about; a refusal by whatever means is a no."""
        with self.socket() as made:
            made.settimeout(0.5)
            try:
                if source:
                    made.bind((source, 0))
                made.connect((address, port))
            except OSError:
                return False
            return True

    def reaches(self, address: str, port: int) -> bool:
        """As ``dials``, patiently: a busy kernel tells a bridge late that a new link is up."""
        deadline = time.monotonic() + PATIENCE
        while not (reached := self.dials(address, port)) and time.monotonic() < deadline:
            time.sleep(0.05)  # between two attempts, which may be refused at once
        return reached

    def leave(self) -> None:
        self.process.kill()
        self.process.communicate()


def make_place(stack: ExitStack) -> Place:
    """A new namespace with its loopback up, gone with the stack."""
    process = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    place = Place(process)
    stack.callback(place.leave)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"\n"  # cat runs, so unshare is done
    return place
