"""Hostile and broken contexts, bases and sources: a specific error, and nothing left."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.system.build.rigs import BuildRig, context, link
from workers.engine.build.builder import Builder
from workers.engine.build.unpacking import ContextLimits
from workers.errors import (
    AddressRefused,
    BuildExceeded,
    BuildFailed,
    DockerfileTooLarge,
    FetchFailed,
    InvalidContext,
    InvalidDockerfile,
    SlipwayError,
)
from workers.messages import RegistryAccess

OPEN = {"127.0.0.1": RegistryAccess(allow_private=True)}


def test_a_dockerfile_of_five_megabytes_is_refused(builds: BuildRig) -> None:
    with pytest.raises((DockerfileTooLarge, BuildFailed)):
        builds.build("FROM base\n" + "RUN echo x\n" * 500_000)


def test_a_missing_dockerfile_is_named(builds: BuildRig) -> None:
    with pytest.raises(BuildFailed, match="failed to read dockerfile: other"):
        builds.build("FROM base\n", dockerfile="other")


def test_a_dockerfile_that_is_a_link_out_of_the_context_is_not_read(builds: BuildRig) -> None:
    with pytest.raises(BuildFailed, match="failed to read dockerfile"):
        builds.build("", context({"Dockerfile": link("/etc/passwd")}))


def test_what_is_no_archive_is_refused(builds: BuildRig) -> None:
    with pytest.raises(InvalidContext, match="neither a tar"):
        builds.build("", b"what is this?" * 100)


def test_an_archive_that_was_cut_off_is_refused(builds: BuildRig) -> None:
    whole = context({"Dockerfile": "FROM base\n", "f": "x" * 100_000})
    with pytest.raises(InvalidContext, match="cannot be unpacked"):
        builds.build("", whole[:50_000])


@pytest.mark.parametrize("name", ["../../escape", "/../escape", "a/../../../escape"])
def test_names_that_lead_out_of_the_context_are_refused(builds: BuildRig, name: str) -> None:
    with pytest.raises(InvalidContext, match="'\\.\\.'"):
        builds.build("", context({"Dockerfile": "FROM base\n", name: "x"}))


def test_a_zip_is_a_context_too_and_as_little_trusted(builds: BuildRig) -> None:
    good, bad = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("Dockerfile", "FROM base\nCOPY d/f /f\n")
        archive.writestr("d/f", "zipped")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../escape", "x")

    assert builds.text(builds.build("", good.getvalue()), "/f") == "zipped"
    with pytest.raises(InvalidContext):
        builds.build("", bad.getvalue())


def test_more_bytes_than_the_quota_are_refused(builds: BuildRig) -> None:
    builds.builder = _limited(builds, ContextLimits(unpacked_bytes=1 << 20))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as bomb:
        entry = tarfile.TarInfo("zeros")
        entry.size = 64 << 20
        bomb.addfile(entry, io.BytesIO(bytes(entry.size)))
    assert len(output.getvalue()) < 100_000

    with pytest.raises(BuildExceeded, match="more than 1 MB"):
        builds.build("", output.getvalue())


def test_more_files_than_the_quota_are_refused(builds: BuildRig) -> None:
    builds.builder = _limited(builds, ContextLimits(entries=10))
    with pytest.raises(InvalidContext, match="more than 10 entries"):
        builds.build("FROM base\n", {f"f{number}": "" for number in range(20)})


def _limited(builds: BuildRig, limits: ContextLimits) -> Builder:
    return replace(builds.builder, context_limits=limits)


# --------------------------------------------------------------------------- links

HOSTILE = {
    "up": link("../../../../../../../../etc"),
    "root": link("/etc"),
    "me": link("me"),
    "file": link("/etc/passwd"),
}


@pytest.mark.parametrize("source", ["up/passwd", "root/passwd", "file"])
def test_a_link_of_the_context_leads_nowhere_else(builds: BuildRig, source: str) -> None:
    with pytest.raises(BuildFailed, match="not found in the build context"):
        builds.build(f"FROM scratch\nCOPY {source} /stolen\n", HOSTILE)


def test_a_circle_of_links_is_an_error(builds: BuildRig) -> None:
    with pytest.raises(BuildFailed, match="too many levels"):
        builds.build("FROM scratch\nCOPY me/x /x\n", HOSTILE)


def test_links_within_a_copied_directory_stay_links(builds: BuildRig) -> None:
    built = builds.build("FROM scratch\nCOPY . /c/\n", HOSTILE)
    node = builds.node(built, "/c/root")
    assert node is not None
    assert node.is_link


def test_a_link_of_the_image_leads_nowhere_else(builds: BuildRig) -> None:
    built = builds.build(
        "FROM base\nRUN busybox ln -s /../../../../../tmp /evil; busybox ln -s ../../../../../../tmp /evil2\n"
        "COPY Dockerfile /evil/\nCOPY Dockerfile /evil2/two\n"
    )
    assert builds.node(built, "/tmp/Dockerfile") is not None
    assert builds.node(built, "/tmp/two") is not None
    assert not Path("/tmp/Dockerfile").exists()


def test_copying_over_a_directory_and_through_a_file_are_errors(builds: BuildRig) -> None:
    with pytest.raises(BuildFailed, match="cannot replace to directory"):
        builds.build("FROM base\nRUN mkdir -p /d/f\nCOPY d /d/\n", {"d/f": "x"})
    with pytest.raises(BuildFailed, match=r"not a directory|non-directory"):
        builds.build("FROM base\nCOPY Dockerfile /etc/passwd/x\n")


@pytest.mark.parametrize("line", ["COPY --from=9 / /", "COPY --from=two /a /b\nFROM base AS two"])
def test_stages_that_are_not_there_or_not_yet_are_refused(builds: BuildRig, line: str) -> None:
    with pytest.raises(Exception, match=r"9|two"):
        builds.build(f"FROM base\n{line}\n")


@pytest.mark.parametrize(
    ("line", "near", "suggestion"),
    [
        ("COPY pgae /x", "pgae", "page"),
        ("COPY --chmod=644 \\\n  ./sub/tow.txt /x", "sub/tow.txt", "sub/two.txt"),
        ("COPY sbu/two.txt /x", "sbu/two.txt", "sub/two.txt"),
        ("COPY --from=base /etc/passwt /x", "etc/passwt", "etc/passwd"),
        ("COPY --chown=roto page /x", "roto", "root"),
        ("COPY --chown=0:roto file /x", "roto", "root"),
        ("RUN --mount=type=bind,source=pgae,target=/x true", "pgae", "page"),
        ("COPY nothing-like-it /x", "nothing-like-it", None),
        ("RUN exit 3", "RUN", None),
    ],
)
def test_what_is_found_wrong_on_the_way_has_its_line_marked_and_what_was_meant(
    builds: BuildRig, line: str, near: str, suggestion: str | None
) -> None:
    with pytest.raises(SlipwayError) as caught:
        builds.build(f"FROM base\n{line}\n", {"page": "x", "sub/two.txt": "x"})
    facts = caught.value.facts
    text = str(facts["text"])
    assert text in line.splitlines()
    start = str(facts["marker"]).index("^")
    assert text[start : start + str(facts["marker"]).count("^")] == near
    assert facts["line"] == 2 + line.splitlines().index(text)
    assert facts.get("suggestion") == suggestion
    assert suggestion is None or f"did you mean {suggestion}?" in caught.value.message


def test_an_unknown_instruction_is_refused_with_its_line(builds: BuildRig) -> None:
    with pytest.raises(InvalidDockerfile) as raised:
        builds.build("FROM base\nRUNN true\n")
    assert raised.value.facts["line"] == 2


def test_directories_nested_deeper_than_a_path_can_be_are_an_error(builds: BuildRig) -> None:
    nest = 'n=0; while [ $n -lt 30 ]; do mkdir "$0" && cd "$0"; n=$((n+1)); done; true'
    with pytest.raises(BuildFailed, match="longer than 4095 bytes"):
        builds.build(f"FROM base\nRUN sh -c '{nest}' {'d' * 200}\n")


def test_names_that_are_no_text_are_kept(builds: BuildRig) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name, text in {"Dockerfile": "FROM base\nCOPY . /c/\nRUN ls /c\n", "odd\udcff name": "x"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    built = builds.build("", output.getvalue())
    assert builds.node(built, "/c/odd\udcff name") is not None


# --------------------------------------------------------------------------- the world


@contextmanager
def server(answer: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    listening = ThreadingHTTPServer(("127.0.0.1", 0), answer)
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


class Whole(Quiet):
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.headers.get("If-None-Match") == '"v1"':
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.send_header("ETag", '"v1"')
        self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        self.end_headers()
        self.wfile.write(b"hello")


class Lost(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")


class Elsewhere(Quiet):
    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://localhost:1/secret")
        self.end_headers()


def test_a_url_is_added_and_asked_for_again_by_its_tag(builds: BuildRig) -> None:
    builds.access = OPEN
    Whole.asked = 0
    with server(Whole) as url:
        built = builds.build(f"FROM scratch\nADD {url}/f.txt /d/\n")
        builds.build(f"FROM scratch\nADD {url}/f.txt /d/\n")
    node = builds.node(built, "/d/f.txt")
    assert node is not None
    assert builds.text(built, "/d/f.txt") == "hello"
    assert (node.status.st_mode & 0o7777, node.status.st_mtime) == (0o600, 1_700_000_000)
    assert Whole.asked == 2
    assert builds.state("ADD") == "cached"


def test_a_checksum_is_held_to(builds: BuildRig) -> None:
    builds.access = OPEN
    right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    with server(Whole) as url:
        builds.build(f"FROM scratch\nADD --checksum=sha256:{right} {url}/f /f\n")
        Whole.asked = 0
        builds.build(f"FROM scratch\nADD --checksum=sha256:{right} {url}/f /f\n")
        assert Whole.asked == 0
        with pytest.raises(BuildFailed, match="the checksum is sha256:2cf24d"):
            builds.build(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {url}/f /f\n")


def test_a_connection_that_is_lost_is_said_so(builds: BuildRig) -> None:
    builds.access = OPEN
    with server(Lost) as url, pytest.raises(FetchFailed, match="lost after 9"):
        builds.build(f"FROM scratch\nADD {url}/f /f\n")


def test_private_addresses_are_refused_also_by_redirect(builds: BuildRig) -> None:
    with server(Whole) as url, pytest.raises(AddressRefused):
        builds.build(f"FROM scratch\nADD {url}/f /f\n")
    builds.access = OPEN
    with server(Elsewhere) as url, pytest.raises(AddressRefused):
        builds.build(f"FROM scratch\nADD {url}/f /f\n")
