"""A build ends within two seconds of the wish, and with its time, whatever it waits for."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.build.rigs import BuildRig
from tests.system.build.slow import Serve, body_by_the_byte, headers_by_the_byte, nothing, slow
from tests.system.rigs import until
from workers.errors import BuildExceeded, FetchFailed
from workers.messages import BuildImage, RegistryAccess

WITHIN = 2.0
"""Seconds from the wish to the end."""
OPEN = {"127.0.0.1": RegistryAccess(allow_private=True)}


class Ended(Exception):
    pass


@dataclass
class Wish:
    """Somebody who wants the build ended ``after`` so many seconds from when ``begun`` is true."""

    begun: Callable[[], bool]
    after: float = 0.3
    since: float | None = None
    ends: list[BaseException] = field(default_factory=list)

    def __call__(self) -> None:
        if self.since is not None and time.monotonic() > self.since + self.after:
            raise Ended

    def took(self, builds: BuildRig, command: BuildImage) -> float:
        """Seconds from the wish to the end of ``command``."""

        def run() -> None:
            try:
                replace(builds, cancelled=self).run(command)
            except BaseException as error:  # noqa: BLE001 - told to the test
                self.ends.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(self.begun)
        self.since = time.monotonic()
        thread.join()
        assert [type(each) for each in self.ends] == [Ended]
        return time.monotonic() - self.since - self.after


def test_a_step_that_runs(builds: BuildRig) -> None:
    command = builds.command("FROM base\nRUN (trap '' TERM; sleep 100) & echo up; sleep 100\n")
    wish = Wish(lambda: "up" in said(builds, command))
    assert wish.took(builds, command) < WITHIN


def said(builds: BuildRig, command: BuildImage) -> str:
    return "\n".join(path.read_text() for path in (builds.directory / command.build).glob("*.log"))


@contextmanager
def running(builds: BuildRig, command: BuildImage) -> Iterator[None]:
    """The build is at a step that goes on until the block ends."""
    over = threading.Event()

    def cancelled() -> None:
        if over.is_set():
            raise Ended

    def run() -> None:
        with suppress(Ended):
            replace(builds, cancelled=cancelled).run(command)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: "F up" in said(builds, command))
        yield
    finally:
        over.set()
        thread.join()


EQUAL = "FROM base\nRUN echo up; sleep 100\n"


def test_a_step_that_waits_for_the_equal_step_of_another_build(builds: BuildRig) -> None:
    with running(builds, builds.command(EQUAL)):
        assert Wish(lambda: True, after=0.7).took(builds, builds.command(EQUAL)) < WITHIN


def test_the_time_of_such_a_step(builds: BuildRig) -> None:
    with running(builds, builds.command(EQUAL)):
        since = time.monotonic()
        with pytest.raises(BuildExceeded, match="its time"):
            builds.build(EQUAL, timeout=1.0)
        assert time.monotonic() - since < 1.0 + WITHIN


def test_a_step_that_waits_for_a_locked_cache_mount(builds: BuildRig) -> None:
    text = "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked echo up; sleep 100; : {}\n"
    with running(builds, builds.command(text.format("one"))):
        assert Wish(lambda: True, after=0.7).took(builds, builds.command(text.format("two"))) < WITHIN


# --------------------------------------------------------------------------- slow servers


@pytest.mark.parametrize(
    ("scheme", "serve"),
    [("http", body_by_the_byte), ("http", headers_by_the_byte), ("http", nothing), ("https", nothing)],
)
def test_a_server_that_is_slow(builds: BuildRig, scheme: str, serve: Serve) -> None:
    builds.access = OPEN
    with slow(serve) as place:
        command = builds.command(f"FROM scratch\nADD {scheme}://{place}/f /f\n")
        assert Wish(lambda: True, after=0.7).took(builds, command) < WITHIN


def test_the_time_of_a_slow_server(builds: BuildRig) -> None:
    builds.access = OPEN
    with slow(body_by_the_byte) as place:
        since = time.monotonic()
        with pytest.raises(BuildExceeded, match="its time"):
            builds.build(f"FROM scratch\nADD http://{place}/f /f\n", timeout=1.0)
        assert time.monotonic() - since < 1.0 + WITHIN


def test_a_host_that_does_not_answer(builds: BuildRig) -> None:
    """Its queue of connections is full: to connect takes for ever."""
    builds.access = OPEN
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        place = listening.getsockname()
        with socket.create_connection(place), socket.socket() as more:
            more.setblocking(False)
            more.connect_ex(place)
            command = builds.command(f"FROM scratch\nADD http://127.0.0.1:{place[1]}/f /f\n")
            assert Wish(lambda: True, after=0.7).took(builds, command) < WITHIN


def test_encryption_is_checked_and_spoken(builds: BuildRig, tmp_path: Path, monkeypatch: Any) -> None:
    builds.access = {**OPEN, "localhost": RegistryAccess(allow_private=True)}
    certificate = tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key")
    body = b"hello" * 100_000

    def serve(connection: socket.socket) -> bytes:
        connection.settimeout(5)
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            secured.sendall(head.encode() + body)
            secured.unwrap()
        return b""

    with slow(serve) as place:
        text = f"FROM scratch\nADD https://localhost:{place.rpartition(':')[2]}/f /f\n"
        with pytest.raises(FetchFailed, match=r"(?i)certificate"):
            builds.build(text)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert builds.text(builds.build(text), "/f").encode() == body
