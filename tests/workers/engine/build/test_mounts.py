"""What a build uses of the kept things beside the cache of steps is dropped by nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workers.engine.build import addresses, mounts
from workers.engine.build.fetching import Fetcher
from workers.engine.places import Places

ACME = "a" * 32
Answer = Callable[[str], tuple[int, str, bytes]]
"""Of an If-None-Match: status, ETag, body."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "data", tmp_path / "run")
    for directory in (places.builds, places.build_mounts, places.build_doomed):
        directory.mkdir(parents=True, exist_ok=True)
    return places


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            status, etag, body = answer(self.headers.get("If-None-Match") or "")
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/file"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def fetched(places: Places, url: str, target: Path) -> bytes:
    fetcher = Fetcher(lambda name: places.build_mount(ACME, f"url-{name}"), lambda host: addresses.anything)
    fetcher.fetch(url, None, target, lambda done, total: None, lambda: None)
    return target.read_bytes()


def test_what_is_held_is_not_dropped(places: Places) -> None:
    home = places.build_mount(ACME, "m")
    held, more = mounts.hold(home), mounts.hold(home)
    for descriptor in (held, more):
        assert mounts.sweep(places, max_bytes=0, max_age=0) == 0
        mounts.forget(places, ACME)
        assert home.is_dir()
        os.close(descriptor)
    assert mounts.sweep(places, max_bytes=0, max_age=0) == 1
    assert not home.exists()


def test_what_is_held_is_in_its_place_however_often_it_is_dropped(places: Places) -> None:
    home, over = places.build_mount(ACME, "m"), threading.Event()

    def drop() -> None:
        while not over.is_set():
            mounts.forget(places, ACME)

    threads = [threading.Thread(target=drop) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(500):
            descriptor = mounts.hold(home)
            (home / str(number)).write_text("x")
            assert (home / str(number)).read_text() == "x"
            os.close(descriptor)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_download_is_not_swept_while_it_comes_in(places: Places, tmp_path: Path) -> None:
    def answer(known: str) -> tuple[int, str, bytes]:
        swept.append(mounts.sweep(places, max_bytes=0, max_age=0))
        return 200, '"v1"', b"one"

    swept: list[int] = []
    with server(answer) as url:
        assert fetched(places, url, tmp_path / "out") == b"one"
    assert swept == [0]
    assert mounts.sweep(places, max_bytes=0, max_age=0) == 1


def test_a_download_is_copied_whole_though_another_build_has_a_newer_one(
    places: Places, tmp_path: Path
) -> None:
    """The second build is told that the file is what it was; before it copies, the third has a new one."""
    asked: list[str] = []

    def answer(known: str) -> tuple[int, str, bytes]:
        asked.append(known)
        if len(asked) == 2:
            assert fetched(places, url, tmp_path / "third") == b"two"
            return 304, known, b""
        return (200, '"v1"', b"one") if len(asked) == 1 else (200, '"v2"', b"two")

    with server(answer) as url:
        assert fetched(places, url, tmp_path / "first") == b"one"
        assert fetched(places, url, tmp_path / "second") == b"one"
    assert asked == ["", '"v1"', '"v1"']
