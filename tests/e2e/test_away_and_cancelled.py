"""What people do in bad moments, against the whole process set: sign in without Redis, call an import off."""

from __future__ import annotations

import hashlib
import http.cookiejar
import io
import json
import os
import re
import signal
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.rest import Rest, until
from tests.stacks import RunningStack

FILES = 60_000
"""Seconds of work for the extractor, whose tar is made in two."""
ENDED = ("succeeded", "failed", "cancelled")


@contextmanager
def held(pid: int | None) -> Iterator[None]:
    """The process is there and answers nobody."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def browser() -> urllib.request.OpenerDirector:
    jar = http.cookiejar.CookieJar()
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))


def sign_in(stack: RunningStack, opener: urllib.request.OpenerDirector) -> str:
    """The page that the form led to."""
    url = f"{stack.url.rstrip('/')}/accounts/login/"
    form = opener.open(url, timeout=60).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token
    fields = {"csrfmiddlewaretoken": token[1], "login": stack.admin, "password": stack.password}
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), {"Referer": url})
    with opener.open(request, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.timeout(180)
def test_people_sign_in_while_redis_answers_nobody(stack: RunningStack) -> None:
    with held(stack.pid("redis")):
        assert "Dashboard" in sign_in(stack, browser())


def many_files() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(FILES):
            info = tarfile.TarInfo(f"d{number % 100}/f{number}")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


@pytest.mark.timeout(240)
def test_a_real_import_is_cancelled_while_it_unpacks_and_leaves_nothing(
    stack: RunningStack, rest: Rest
) -> None:
    path = f"/projects/{rest.project}/images?name=never&tag=there"
    archive = many_files()
    answer = rest.send("POST", path, archive, **{"Content-Type": "application/x-tar"})
    made: dict[str, Any] = json.loads(answer)
    job = f"/projects/{rest.project}/jobs/{made['id']}"

    def state(*wanted: str) -> dict[str, Any] | None:
        found: dict[str, Any] = rest.call("GET", job)
        return found if found["state"] in wanted else None

    ingest = stack.data / "node" / "layers" / "ingest"
    until(lambda: True if any(ingest.iterdir()) or state(*ENDED) else None, 60, "nothing is unpacked")
    rest.call("POST", f"{job}/cancel")
    ended = until(lambda: state(*ENDED), 60, "the import does not end")
    assert ended["state"] == "cancelled", ended
    until(lambda: None if any(ingest.iterdir()) else True, 30, "half a layer stays")
    assert "never" not in str(rest.call("GET", f"/projects/{rest.project}/images"))
    # Of this import alone: builds of other tests on this process set keep their contexts, as they should.
    ticket = stack.data / "node" / "uploads" / f"sha256-{hashlib.sha256(archive).hexdigest()}"
    until(lambda: None if ticket.exists() else True, 30, "the upload stays")
