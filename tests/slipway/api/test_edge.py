"""The way in: lanes, middleware, static files and the headers every answer has."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from slipway.staticfiles import StaticFiles
from slipway.threads import Lanes
from tests.slipway.api.conftest import Edge, People


def test_no_middleware_is_synchronous() -> None:
    """One that is would hold a lane for as long as the view behind it waits."""
    for name in settings.MIDDLEWARE:
        assert import_string(name).async_capable, name


def test_a_busy_lane_is_passed_by() -> None:
    lanes = Lanes(3)
    release = threading.Event()
    busy = lanes.choose()
    blocked = busy.submit(release.wait)
    try:
        assert all(lanes.choose() is not busy for _ in range(9))
    finally:
        release.set()
        blocked.result(timeout=10)
    assert busy in {lanes.choose() for _ in range(3)}


def test_calls_of_one_lane_run_in_order_in_one_thread() -> None:
    lane = Lanes(1).choose()
    calls: list[Future[Any]] = [lane.submit(threading.get_ident) for _ in range(20)]
    assert len({call.result(timeout=10) for call in calls}) == 1


async def test_the_process_is_alive(edge: Edge) -> None:
    async with edge.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"alive": True})
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.headers["X-Request-Id"]) == 32


async def test_what_needs_the_database_works_behind_the_server(edge: Edge, crowd: People) -> None:
    async with edge.get("/api/v1/me", crowd.owner) as answer:
        assert (await answer.json())["roles"] == {crowd.project.team.slug: "owner"}


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the file was not found")


@pytest.fixture
def files(settings: Any, tmp_path: Path) -> StaticFiles:
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "style.css").write_text("body {}" * 100_000)
    (tmp_path / "style.css.gz").write_bytes(b"compressed")
    return StaticFiles(nobody)


async def ask(files: StaticFiles, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    asked = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/static/style.css", "headers": asked}
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await files(scope, nobody, send)  # type: ignore[arg-type]  # as much of a scope as is looked at
    found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], found, b"".join(message.get("body", b"") for message in messages[1:])


async def test_static_files_come_whole_compressed_in_part_or_not_at_all(files: StaticFiles) -> None:
    status, headers, body = await ask(files)
    assert (status, len(body), headers["content-type"]) == (200, 700_000, 'text/css; charset="utf-8"')
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert (await ask(files, accept_encoding="gzip, br"))[2] == b"compressed"
    assert (await ask(files, range="bytes=0-3"))[2] == b"body"
    assert (await ask(files, "HEAD"))[2] == b""
    assert (await ask(files, "POST"))[0] == 405
    assert (await ask(files, if_none_match=headers["etag"]))[0] == 304


def test_paths_outside_of_the_static_files_are_not_ours(files: StaticFiles) -> None:
    for path in ("/static/../conftest.py", "/static/%2e%2e/x", "/style.css", "/static/"):
        assert files._file(path) is None
