import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import directories, programs
from stack.settings import Stack, read_stack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")

ACCOUNT = pwd.getpwnam("nobody")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    found = read_stack({"SLIPWAY_DATA": str(tmp_path / "data"), "SLIPWAY_RUN": str(tmp_path / "run")})
    directories.prepare(found, ACCOUNT.pw_name)
    return found


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A directory of root's that nobody gave away."""
    path = tmp_path / "precious"
    path.mkdir(mode=0o755)
    (path / "shadow").touch(0o600)
    return path


def owner(path: Path) -> int:
    return os.lstat(path).st_uid


def test_the_service_user_owns_its_own_directories_and_no_other(stack: Stack) -> None:
    owned = (stack.data / "platform", stack.data / "platform/keys", stack.data / "redis", stack.run / "redis")
    assert {owner(path) for path in owned} == {ACCOUNT.pw_uid}
    assert {owner(path) for path in (stack.data, stack.run, stack.logs, stack.pids, stack.work)} == {0}
    assert stat.S_IMODE(stack.work.stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["platform/tmp", "platform/keys"])
def test_a_link_in_the_service_users_directory_leads_root_nowhere(
    stack: Stack, precious: Path, place: str
) -> None:
    (stack.data / place).rmdir()
    (stack.data / place).symlink_to(precious)
    with pytest.raises(NotADirectoryError):
        directories.prepare(stack, ACCOUNT.pw_name)
    assert (owner(precious), owner(precious / "shadow")) == (0, 0)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o755


def test_what_another_service_user_left_is_handed_over_but_not_what_links_point_at(
    stack: Stack, precious: Path
) -> None:
    keys = stack.data / "platform" / "keys"
    (keys / "signing").touch()
    (keys / "link").symlink_to(precious)
    directories.prepare(stack, None)
    assert {owner(path) for path in (keys, keys / "signing", keys / "link")} == {0}
    directories.prepare(stack, ACCOUNT.pw_name)
    assert {owner(path) for path in (keys, keys / "signing", keys / "link")} == {ACCOUNT.pw_uid}
    assert (owner(precious), owner(precious / "shadow")) == (0, 0)


@pytest.mark.parametrize("program", [programs.agent, programs.worker])
def test_roots_processes_import_nothing_that_the_service_user_can_write(stack: Stack, program) -> None:  # type: ignore[no-untyped-def]
    planted = stack.run / "redis" / "__init__.py"
    planted.write_text("raise SystemExit('planted')")
    directory = program(stack).directory
    # Celery puts its working directory first in the path whenever it imports.
    found = subprocess.run(
        [sys.executable, "-c", "import sys, os; sys.path.insert(0, os.getcwd()); import redis"],
        cwd=directory,
        env=stack.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert owner(directory) == 0
