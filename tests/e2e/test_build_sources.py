"""What builds are made of when it is not a folder: repositories and archives of servers on loopback."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.e2e.test_build_registries import built
from tests.e2e.test_builds import ask, ended
from tests.e2e.test_cli import Slipway
from tests.rest import Rest
from tests.stacks import RunningStack
from tests.system.build import test_remote as files
from tests.system.build import test_ssh as ssh
from tests.system.build.rigs import context
from tests.system.build.test_git import PASSWORD, commit, git, serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """``app.git`` with the submodule ``lib.git`` at ``web/vendor/lib``."""
    root = tmp_path / "repos"
    for name, held in (("lib.git", {"l": "library\n"}), ("app.git", {"top": "top\n"})):
        (root / name).mkdir(parents=True)
        git(root / name, "init", "--quiet")
        commit(root / name, held)
    app = root / "app.git"
    git(app, "submodule", "--quiet", "add", "--name", "library", str(root / "lib.git"), "web/vendor/lib")
    git(app, "config", "--file", ".gitmodules", "submodule.library.url", "../lib.git")
    commit(app, {"web/Dockerfile": "FROM busybox\nCOPY . /all\nRUN cat /all/vendor/lib/l\n"})
    return root


def said(rest: Rest, number: int) -> str:
    return rest.send("GET", f"/projects/{rest.project}/builds/{number}/logs").decode()


def test_a_repository_with_submodules_opens_with_its_password(rest: Rest, repositories: Path) -> None:
    path = f"/projects/{rest.project}/builds"
    with serving(repositories, PASSWORD) as url:
        asked = {"remote": f"{url}/app.git#main:web", "username": "me"}
        made = rest.call("POST", path, {**asked, "password": PASSWORD})
        build = ended(rest, f"{path}/{made['number']}")
        assert build["state"] == "succeeded", build["cause"]
        assert "library" in said(rest, build["number"])
        made = rest.call("POST", path, {**asked, "password": "wrong"})
        refused = ended(rest, f"{path}/{made['number']}")
    assert (refused["state"], refused["cause"]["code"]) == ("failed", "BUILD_FETCH_FAILED")
    assert PASSWORD not in json.dumps([build, refused])


def test_add_takes_a_repository_whole_or_in_part(rest: Rest, repositories: Path) -> None:
    head = git(repositories / "app.git", "rev-parse", "HEAD")
    with serving(repositories) as url:
        address = f"{url}/app.git"
        build = built(
            rest,
            f"FROM busybox\nADD --keep-git-dir=true {address} /kept\n"
            f"ADD --checksum={head} {address}#main:web/vendor /part\n"
            "RUN test -d /kept/.git && test ! -e /part/.git && cat /kept/top /part/lib/l\n",
        )
        text = f"FROM busybox\nADD --checksum={'0' * 40} {address}#main /no\n"
        refused = ended(rest, ask(rest, text))
    lines = said(rest, build["number"])
    assert ("top" in lines, "library" in lines) == (True, True)
    assert refused["state"] == "failed"
    assert head in refused["cause"]["message"]


def test_an_archive_at_an_address_is_built_by_the_command(stack: RunningStack, tmp_path: Path) -> None:
    slipway = Slipway(stack, tmp_path)
    archive = context({"Dockerfile": "FROM busybox\nCOPY f /f\nRUN cat /f\n", "f": "from far\n"})
    served = {"web.tar": archive, "Dockerfile": b"FROM busybox\nRUN echo by itself\n"}
    with files.serving(**served) as (url, _):
        for name, line in (("web.tar", "from far"), ("Dockerfile", "by itself")):
            done = slipway("build", f"{url}/{name}", "--progress", "plain")
            assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr
            assert line in done.stderr
        missing = slipway("build", f"{url}/nothing.tar", "--progress", "plain")
    assert (missing.returncode, "404" in missing.stderr) == (1, True)


def test_a_key_signs_in_a_step_and_lies_nowhere(stack: RunningStack, tmp_path: Path) -> None:
    """Once the build has ended: in no row, record, log, layer or message of the whole installation."""
    slipway, folder = Slipway(stack, tmp_path), tmp_path / "folder"
    text, public = ssh.made(tmp_path)
    for name, (_, data, mode) in ssh.programs("ssh-add").items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    (folder / "Dockerfile").write_text(
        "FROM busybox\nCOPY ssh /ssh\nCOPY lib64 /lib64\n"
        f"RUN --mount=type=ssh,required=true {ssh.SHELL} ssh-add -l\n"
    )
    done = slipway("build", str(folder), "--ssh", f"default={public.with_suffix('')}", "--progress", "plain")
    assert done.returncode == 0, done.stderr
    assert ssh.fingerprint(public) in done.stderr
    lines = [line.encode() for line in text.splitlines()[2:-1]]  # the first is the same in all keys
    assert len(lines) > 2
    for path in (*stack.data.rglob("*"), *stack.run.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            is_namespace = path.parent.name == "userns"
            if path.is_file() and not path.is_symlink() and not is_namespace:
                data = path.read_bytes()
                assert not any(line in data for line in lines), path
    without = slipway("build", str(folder), "--progress", "plain", "--no-cache")
    assert (without.returncode, "--ssh default=FILE" in without.stderr) == (1, True)
