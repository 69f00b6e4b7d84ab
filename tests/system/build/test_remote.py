"""Contexts by an address: an archive, or the text of a Dockerfile, fetched by the node."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.system.build.rigs import BuildRig, context
from workers.engine.build.builder import Built
from workers.engine.build.unpacking import ContextLimits
from workers.errors import AddressRefused, BuildExceeded, BuildFailed, FetchFailed, InvalidContext
from workers.messages import BuildSource, RegistryAccess

OPEN = {"127.0.0.1": RegistryAccess(allow_private=True)}
TEXT = "FROM base\nCOPY f /f\nRUN cat /f\n"


class Files(BaseHTTPRequestHandler):
    served: dict[str, bytes]
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = self.served.get(self.path.partition("?")[0])
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.2:9/else")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body)}"')
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(**files: bytes) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    served = {f"/{name}": body for name, body in files.items()}
    handler = type("Handler", (Files,), {"served": served, "asked": asked})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", asked
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def build(builds: BuildRig, url: str, **wishes: object) -> Built:
    builds.access = wishes.pop("access", OPEN)  # type: ignore[assignment]  # of the test
    return builds.run(builds.command("", source=BuildSource("url", url=url), **wishes))


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_is_the_context(builds: BuildRig, packed: bool) -> None:
    archive = context({"Dockerfile": TEXT, "f": "from far\n", ".dockerignore": "no\n", "no": "x"})
    with serving(archive=gzip.compress(archive) if packed else archive) as (url, _):
        built = build(builds, f"{url}/archive?key=1")
    assert builds.text(built, "/f") == "from far\n"
    parameters = json.loads(built.provenance)["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters["revision"].startswith("sha256:")
    assert parameters["source"].startswith(f"{url}/archive")


def test_another_dockerfile_of_the_archive_is_taken(builds: BuildRig) -> None:
    archive = context({"Dockerfile": "FROM nosuch\n", "sub/Other": "FROM base\nRUN echo o > /o\n"})
    with serving(archive=archive) as (url, _):
        assert builds.text(build(builds, f"{url}/archive", dockerfile="sub/Other"), "/o") == "o\n"


def test_a_text_is_the_dockerfile_of_an_empty_context(builds: BuildRig) -> None:
    with serving(dockerfile=b"FROM base\nRUN echo t > /t\n", copies=TEXT.encode()) as (url, _):
        assert builds.text(build(builds, f"{url}/dockerfile"), "/t") == "t\n"
        with pytest.raises(BuildFailed, match="f"):
            build(builds, f"{url}/copies")


def test_what_is_neither_is_named(builds: BuildRig) -> None:
    page = b"<!DOCTYPE html><html><title>acme/web</title></html>"
    with serving(noise=b"\x00\x01\x02" * 100, page=page, cut=gzip.compress(b"x" * 9999)[:40]) as (url, _):
        for name, why in (("noise", "neither"), ("page", r"ends with \.git"), ("cut", "cannot be unpacked")):
            with pytest.raises(InvalidContext, match=why):
                build(builds, f"{url}/{name}")
        with pytest.raises(FetchFailed, match="404"):
            build(builds, f"{url}/nothing")


def test_private_networks_are_out_of_reach_also_by_redirect(builds: BuildRig) -> None:
    with serving(dockerfile=b"FROM base\n") as (url, asked):
        with pytest.raises(AddressRefused):
            build(builds, f"{url}/dockerfile", access={})
        assert asked == []
        with pytest.raises(AddressRefused):
            build(builds, f"{url}/moved")
    with pytest.raises(FetchFailed, match="only http and https"):
        build(builds, "file:///etc/passwd")


def test_an_archive_that_grows_too_large_ends(builds: BuildRig) -> None:
    object.__setattr__(builds.builder, "context_limits", ContextLimits(unpacked_bytes=1 << 20))
    bomb = gzip.compress(context({"Dockerfile": "FROM base\n", "f": "0" * (8 << 20)}))
    with serving(bomb=bomb) as (url, _), pytest.raises(BuildExceeded, match="unpacks to more"):
        build(builds, f"{url}/bomb")


def test_a_named_context_is_an_archive_or_a_directory_of_a_repository(builds: BuildRig) -> None:
    builds.access = OPEN
    text = "FROM base\nCOPY --from=more f /f\n"
    with serving(archive=context({"f": "named\n"}), text=b"words") as (url, _):
        built = builds.build(text, contexts={"more": f"{url}/archive"})
        assert builds.text(built, "/f") == "named\n"
        with pytest.raises(InvalidContext, match="context more"):
            builds.build(text, contexts={"more": f"{url}/text"})
