"""A machine is backed up while it works, lost, and comes back on an empty one."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests import stacks
from tests.environment import ROOT, scratch
from tests.rest import Rest, until
from tests.stacks import RunningStack

pytestmark = pytest.mark.timeout(300)
FOREVER = ("sleep", "100000")


@dataclass(frozen=True)
class Backup:
    """What is left of the machine that is gone, and what was known of it."""

    lost: RunningStack
    file: Path
    images: list[str]


@pytest.fixture(scope="module")
def backup() -> Iterator[Backup]:
    """Made with a container running and one ended; then the machine is stopped and its data wiped."""
    machine = stacks.start()
    directory = scratch()
    try:
        rest = Rest(machine.url, machine.token, machine.project)
        rest.create("forever", *FOREVER)
        rest.create("ended", "sh", "-c", "exit 7")
        rest.wait("forever", "running")
        rest.wait("ended")
        machine.manage("backup", str(directory / "b"), "--with-images")
        made = Backup(machine, directory / "b", images(rest))
        rest.create("too-late", "true")
    finally:
        machine.stop()
    assert not machine.data.exists()
    yield made
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def restored(backup: Backup) -> Iterator[RunningStack]:
    """Another data directory, run directory and instance: a machine that knows nothing."""
    variables = stacks.environment()
    done = subprocess.run(
        [sys.executable, "manage.py", "restore", str(backup.file), "--verify"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "layers are unpacked" in done.stdout
    machine = stacks.start(variables)
    yield machine
    machine.stop()


@pytest.fixture
def rest(restored: RunningStack, backup: Backup) -> Rest:
    """With the token of the machine that is gone."""
    return Rest(restored.url, backup.lost.token, backup.lost.project)


def images(rest: Rest) -> list[str]:
    items = rest.call("GET", "/projects/library/library/images")["items"]
    return sorted(name for item in items for name in item["references"])


def test_a_backup_is_for_its_owner_alone(backup: Backup) -> None:
    assert stat.S_IMODE(backup.file.stat().st_mode) == 0o600


def test_tokens_and_passwords_of_before_open_the_restored_machine(
    restored: RunningStack, rest: Rest, backup: Backup
) -> None:
    assert rest.call("GET", "/projects")["items"]
    assert restored.password == ""  # no new administrator was made
    assert signs_in(restored.url, backup.lost.admin, backup.lost.password)
    assert not signs_in(restored.url, backup.lost.admin, "another password")


def test_images_are_listed_and_run_as_before(rest: Rest, backup: Backup) -> None:
    assert images(rest) == backup.images
    assert "busybox:latest" in backup.images
    rest.create("afterwards", "sh", "-c", "echo restored; exit 3")
    assert rest.wait("afterwards")["exit_code"] == 3
    assert rest.log("afterwards") == ["restored"]


def test_a_container_that_ran_has_exited_with_a_cause(rest: Rest) -> None:
    lost = rest.wait("forever", "exited")
    assert lost["exit_code"] is None
    assert lost["cause"]["code"] == "NODE_LOST_CONTAINER"
    assert rest.inspect("ended")["exit_code"] == 7
    names = [each["name"] for each in rest.call("GET", rest.containers())["items"]]
    assert "too-late" not in names


def test_a_container_of_before_starts_again(rest: Rest) -> None:
    rest.wait("forever", "exited")
    rest.call("POST", rest.containers("forever", "start"))
    rest.wait("forever", "running")


def test_the_observer_goes_on_in_the_new_journal(restored: RunningStack, rest: Rest) -> None:
    rest.create("counted", "true")
    rest.wait("counted")
    look = "from slipway.nodes.models import Node; n = Node.objects.get(); print(n.epoch, n.applied_seq)"

    def caught_up() -> bool | None:
        said = restored.manage("shell", "--no-imports", "--command", look).split()
        return True if len(said) == 2 and int(said[1]) > 0 else None

    until(caught_up, 20, "nothing was applied")


def test_keys_are_rotated_while_containers_are_started(restored: RunningStack, rest: Rest) -> None:
    rest.create("before", "true")
    restored.manage("rotate_keys", "signing", "node")
    rest.create("after", "true")
    assert rest.wait("before")["exit_code"] == rest.wait("after")["exit_code"] == 0


def test_a_second_restore_is_refused(restored: RunningStack, backup: Backup) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "restore", str(backup.file)],
        cwd=ROOT,
        env=dict(restored.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Slipway runs on this machine" in done.stderr


def signs_in(url: str, username: str, password: str) -> bool:
    """By the form in a browser's place."""
    browser: Any = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(f"{url}accounts/login/", timeout=30).read().decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found
    fields = {"csrfmiddlewaretoken": found[1], "login": username, "password": password}
    answer = browser.open(
        urllib.request.Request(
            f"{url}accounts/login/",
            data=urllib.parse.urlencode(fields).encode(),
            headers={"Referer": f"{url}accounts/login/"},
        ),
        timeout=30,
    )
    return "/accounts/login" not in answer.geturl()
