"""Git repositories over HTTP as contexts and as sources of ADD, served by git's own server program."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.system.build.rigs import BuildRig
from workers.engine.build.builder import Built
from workers.errors import AddressRefused, BuildFailed, BuildUnsupported, FetchFailed
from workers.messages import BuildSource, RegistryAccess

OPEN = {"127.0.0.1": RegistryAccess(allow_private=True)}
PASSWORD = "s3cret-token-of-git"
_BACKEND = "/usr/lib/git-core/git-http-backend"


class Repositories(BaseHTTPRequestHandler):
    root = Path()
    password = ""

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        given = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2]).decode()
        if self.password and given not in (f"me:{self.password}", f"x-access-token:{self.password}"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            [_BACKEND],
            input=body,
            capture_output=True,
            check=False,
            env={
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "me",
                "PATH": os.environ["PATH"],
            },
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(b": ", 1) for line in head.split(b"\r\n")]
        status = next((int(value.split()[0]) for name, value in lines if name == b"Status"), 200)
        self.send_response(status)
        for name, value in lines:
            if name != b"Status":
                self.send_header(name.decode(), value.decode())
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextmanager
def serving(root: Path, password: str = "") -> Iterator[str]:
    handler = type("Handler", (Repositories,), {"root": root, "password": password})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def git(directory: Path, *arguments: str) -> str:
    settings = (
        "user.name=t",
        "user.email=t@t.example",
        "protocol.file.allow=always",
        "init.defaultBranch=main",
    )
    options = [part for each in settings for part in ("-c", each)]
    done = subprocess.run(
        ["git", *options, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "c")
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "repos" / "app"
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet")
    files = {"Dockerfile": "FROM base\nCOPY v /v\n", "v": "main\n", "sub/x": "in sub\n"}
    commit(directory, {**files, "sub/Dockerfile": "FROM base\nCOPY x /x\n"})
    return directory


def build(builds: BuildRig, url: str, **fields: Any) -> Built:
    return builds.run(builds.command("", source=BuildSource("git", url=url, **fields)))


def test_a_branch_a_tag_a_commit_and_the_beginning_of_one(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "v1")
    git(repository, "checkout", "--quiet", "-b", "work")
    commit(repository, {"v": "work\n"})
    git(repository, "checkout", "--quiet", "main")
    with serving(repository.parent) as url:
        found = {
            ref: builds.text(build(builds, f"{url}/app", ref=ref), "/v")
            for ref in (None, "work", "v1", first, first[:8])
        }
        by_fragment = builds.text(build(builds, f"{url}/app#work"), "/v")
    assert found == {None: "main\n", "work": "work\n", "v1": "main\n", first: "main\n", first[:8]: "main\n"}
    assert by_fragment == "work\n"


def test_a_subdirectory_is_the_context(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    with serving(repository.parent) as url:
        built = build(builds, f"{url}/app", subdirectory="sub")
        builds.build("FROM base\nCOPY --from=lib x /got\n", contexts={"lib": f"{url}/app#main:sub"})
    assert builds.step("load context lib").state == "done"
    assert builds.text(built, "/x") == "in sub\n"
    assert '"revision":' in built.provenance


def test_submodules_come_along_by_relative_url(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    library = repository.parent / "lib"
    library.mkdir()
    git(library, "init", "--quiet")
    commit(library, {"l": "library\n"})
    git(repository, "submodule", "--quiet", "add", str(library), "vendor/lib")
    git(repository, "config", "--file", ".gitmodules", "submodule.vendor/lib.url", "../lib")
    commit(repository, {"Dockerfile": "FROM base\nCOPY . /all\n"})
    with serving(repository.parent) as url:
        built = build(builds, f"{url}/app")
    assert builds.text(built, "/all/vendor/lib/l") == "library\n"
    assert builds.node(built, "/all/.git") is None
    assert builds.node(built, "/all/vendor/lib/.git") is None


def test_credentials_open_the_door_and_are_nowhere(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    with serving(repository.parent, PASSWORD) as url:
        built = build(builds, f"{url}/app", username="me", password=PASSWORD)
        with_them = url.replace("//", f"//me:{PASSWORD}@")
        again = build(builds, f"{with_them}/app")
        with pytest.raises(FetchFailed) as raised:
            build(builds, f"{url}/app", username="me", password=f"{PASSWORD}-wrong")
    kept = [built.provenance, again.provenance, str(raised.value), str(raised.value.facts), str(builds.steps)]
    assert all(PASSWORD not in text for text in kept)
    for path in builds.rig.places.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_add_takes_a_repository(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    (repository.parent / "app.git").symlink_to("app/.git")
    with serving(repository.parent) as url:
        built = builds.build(
            f"FROM scratch\nADD {url}/app.git#main:sub /s\nADD --keep-git-dir=true {url}/app.git /k\n"
        )
    assert builds.text(built, "/s/x") == "in sub\n"
    assert builds.node(built, "/k/.git/HEAD") is not None
    node = builds.node(built, "/k/v")
    assert node is not None
    assert (node.status.st_uid, node.status.st_gid) == (0, 0)


def test_add_checks_the_commit_and_takes_submodules_of_any_name(builds: BuildRig, repository: Path) -> None:
    builds.access = OPEN
    library = repository.parent / "lib"
    library.mkdir()
    git(library, "init", "--quiet")
    commit(library, {"deep/l": "library\n"})
    git(repository, "submodule", "--quiet", "add", "--name", "other", str(library), "vendor/lib")
    git(repository, "config", "--file", ".gitmodules", "submodule.other.url", "../lib")
    head = commit(repository, {"v": "later\n"})
    (repository.parent / "app.git").symlink_to("app/.git")
    with serving(repository.parent) as url:
        address = f"{url}/app.git"
        built = builds.build(
            f"FROM scratch\nADD --checksum={head} {address} /a\nADD {address}#main:vendor/lib/deep /d\n"
        )
        assert builds.text(built, "/a/vendor/lib/deep/l") == builds.text(built, "/d/l") == "library\n"
        assert builds.text(built, "/a/v") == "later\n"
        first = git(repository, "rev-list", "--max-parents=0", "HEAD")
        older = builds.build(f"FROM scratch\nADD --checksum={first} {address} /a\n")
        assert builds.text(older, "/a/v") == "main\n"
        with pytest.raises(BuildFailed, match="the commit is"):
            builds.build(f"FROM scratch\nADD --checksum={first} {address}#main /a\n")
        again = builds.build(f"FROM scratch\nADD --checksum={head} {address} /a\n")
        assert builds.state("ADD") == "cached"
        assert builds.text(again, "/a/v") == "later\n"


@pytest.mark.parametrize("name", ["GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN.127.0.0.1"])
def test_a_token_among_the_secrets_opens_repositories(builds: BuildRig, repository: Path, name: str) -> None:
    """Without a host in its name only that of the build's own repository."""
    builds.access = OPEN
    (repository.parent / "app.git").symlink_to("app/.git")
    with serving(repository.parent, PASSWORD) as url:
        text = f"FROM scratch\nADD {url}/app.git#main:sub /s\n"
        commit(repository, {"Dockerfile": text})
        source = BuildSource("git", url=f"{url}/app.git")
        built = builds.run(builds.command("", source=source, secrets={name: f"{PASSWORD}\n"}))
        assert builds.text(built, "/s/x") == "in sub\n"
        if name == "GIT_AUTH_TOKEN":
            with pytest.raises(FetchFailed):
                builds.build(text, secrets={name: PASSWORD})
        else:
            builds.build(text, secrets={name: PASSWORD}, no_cache=True)
        with pytest.raises(FetchFailed) as raised:
            builds.build(text, secrets={"GIT_AUTH_TOKEN.other.example": PASSWORD}, no_cache=True)
    assert PASSWORD not in str(raised.value) + built.provenance + builds.said()


def test_hooks_and_filters_of_a_repository_do_not_run(
    builds: BuildRig, repository: Path, tmp_path: Path
) -> None:
    builds.access = OPEN
    commit(
        repository,
        {".gitattributes": "* filter=evil\n", ".gitconfig": '[filter "evil"]\n\tsmudge = touch /tmp/x\n'},
    )
    with serving(repository.parent) as url:
        assert builds.text(build(builds, f"{url}/app"), "/v") == "main\n"


def test_private_addresses_other_protocols_and_odd_names_are_refused(
    builds: BuildRig, repository: Path
) -> None:
    with serving(repository.parent) as url:
        with pytest.raises(AddressRefused):
            build(builds, f"{url}/app")
        builds.access = OPEN
        for ref in ("--upload-pack=touch /tmp/x", "nosuch", "a..b"):
            with pytest.raises(FetchFailed):
                build(builds, f"{url}/app", ref=ref)
    for other in ("ssh://git@127.0.0.1/app", "git@127.0.0.1:app", "file:///etc", "ext::sh -c id"):
        with pytest.raises(BuildUnsupported, match="https or http"):
            build(builds, other)
