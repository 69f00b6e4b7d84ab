"""Pushes while things go wrong: the web process is killed, two clients push the same."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.rest import until
from tests.stacks import RunningStack

DATA = secrets.token_bytes(1 << 20) * 24
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@contextmanager
def connected(stack: RunningStack) -> Iterator[http.client.HTTPConnection]:
    address = urlsplit(stack.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def ask(stack: RunningStack, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """Status, headers and body."""
    with connected(stack) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": f"Bearer {stack.token}", **named})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def start(stack: RunningStack, path: str) -> str:
    status, headers, _ = ask(stack, "POST", f"/v2/{path}/blobs/uploads/")
    assert status == 202
    return str(headers["Location"])


def send_half(stack: RunningStack, location: str) -> None:
    """A client whose connection breaks because the server was killed."""
    half = len(DATA) // 2
    with connected(stack) as connection:
        connection.putrequest("PATCH", location)
        connection.putheader("Authorization", f"Bearer {stack.token}")
        connection.putheader("Content-Length", str(len(DATA)))
        connection.endheaders()
        connection.send(DATA[:half])
        name = location.rpartition("/")[2]
        until(lambda: list(stack.data.rglob(f"uploads/{name[:32]}*")) or None, 20, "nothing arrived")
        kill(stack)


def kill(stack: RunningStack) -> None:
    pid = stack.pid("web")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def back() -> bool | None:
        try:
            return (ask(stack, "GET", "/readyz")[0] == 200 and stack.pid("web") != pid) or None
        except OSError:
            return None

    until(back, 60, "web did not come back")


def test_a_push_goes_on_after_the_web_process_was_killed(stack: RunningStack) -> None:
    path = f"{stack.project}/killed-{secrets.token_hex(4)}"
    location = start(stack, path)
    send_half(stack, location)
    status, headers, _ = ask(stack, "GET", location)
    assert status == 204
    came = int(headers["Range"].partition("-")[2]) + 1
    assert 0 < came <= len(DATA) // 2
    rest = DATA[came:]
    span = f"{came}-{len(DATA) - 1}"
    assert ask(stack, "PATCH", location, rest, Content_Range=span)[0] == 202
    assert ask(stack, "PUT", f"{location}?digest={DIGEST}", b"")[0] == 201
    assert ask(stack, "GET", f"/v2/{path}/blobs/{DIGEST}")[2] == DATA


def test_a_push_is_done_again_after_the_web_process_was_killed(stack: RunningStack) -> None:
    path = f"{stack.project}/again-{secrets.token_hex(4)}"
    send_half(stack, start(stack, path))
    assert ask(stack, "HEAD", f"/v2/{path}/blobs/{DIGEST}")[0] == 404
    assert ask(stack, "PUT", f"{start(stack, path)}?digest={DIGEST}", DATA)[0] == 201
    assert ask(stack, "GET", f"/v2/{path}/blobs/{DIGEST}")[2] == DATA


def test_two_clients_push_the_same_blob_at_once_and_it_is_kept_once(stack: RunningStack) -> None:
    data = secrets.token_bytes(3 << 20)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    paths = [f"{stack.project}/both-{secrets.token_hex(4)}" for _ in range(2)] * 2

    def push(path: str) -> int:
        return int(ask(stack, "PUT", f"{start(stack, path)}?digest={digest}", data)[0])

    with ThreadPoolExecutor(len(paths)) as pool:
        assert list(pool.map(push, paths)) == [201] * len(paths)
    for path in paths:
        assert ask(stack, "GET", f"/v2/{path}/blobs/{digest}")[2] == data
    assert len(list(stack.data.rglob(f"{digest.removeprefix('sha256:')}.*"))) == 1
