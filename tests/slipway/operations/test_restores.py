"""Backup and restore by their commands, on SQLite and, where the suite runs on it, PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slipway.operations.conftest import Installation

COUNT_USERS = "from slipway.accounts.models import User; print(User.objects.count())"
Empty = Callable[[], Installation]


@pytest.fixture(scope="module")
def backup(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("backups") / "slipway.tar.zst"
    said = installation.manage("backup", str(target))
    assert "writable layers" in said
    assert "--with-images" in said
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
    return target


def test_an_empty_machine_gets_everything_back(
    installation: Installation, backup: Path, empty: Empty
) -> None:
    machine = empty()
    said = machine.manage("restore", str(backup), "--verify")
    assert "migrations match" in said
    assert "Next: make up" in said
    for name in ("django", "signing"):
        assert (machine.keys / name).read_bytes() == (installation.keys / name).read_bytes()
        assert stat.S_IMODE((machine.keys / name).stat().st_mode) == 0o600
    assert machine.python(COUNT_USERS) == "1"
    assert "all applied" in machine.run("upgrade", "--check").stdout
    assert sorted(path.name for path in machine.data.iterdir() if path.name != "node") == ["platform"]
    if os.geteuid() == 0:
        assert (machine.data / "node/keys/node").read_bytes() == (
            installation.data / "node/keys/node"
        ).read_bytes()


def test_data_that_is_there_is_never_written_over(backup: Path, empty: Empty) -> None:
    machine = empty()
    (machine.data / "precious").mkdir(parents=True)
    said = machine.refuse("restore", str(backup))
    assert "is not empty (precious)" in said
    assert "Move it away" in said
    assert [path.name for path in machine.data.iterdir()] == ["precious"]


def test_nothing_is_restored_beside_a_running_process(backup: Path, empty: Empty) -> None:
    machine = empty()
    run = Path(machine.variables["SLIPWAY_RUN"])
    run.mkdir()
    with (run / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "Slipway runs on this machine" in machine.refuse("restore", str(backup))
    assert not machine.data.exists()


def test_a_backup_of_another_node_is_refused(backup: Path, empty: Empty) -> None:
    machine = empty()
    assert "set SLIPWAY_NODE=local" in machine.refuse("restore", str(backup), SLIPWAY_NODE="other")
    assert not machine.data.exists()


def test_a_damaged_backup_leaves_the_machine_empty(backup: Path, empty: Empty, tmp_path: Path) -> None:
    machine = empty()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(backup.read_bytes()[:-100])
    assert "damaged" in machine.refuse("restore", str(damaged))
    assert not machine.data.exists()


def test_a_backup_is_verified_beside_a_machine_in_use(installation: Installation, backup: Path) -> None:
    before = sorted(installation.data.rglob("*"))
    assert "can be restored" in installation.manage("restore", str(backup), "--only-verify")
    assert [path for path in sorted(installation.data.rglob("*")) if "db.sqlite3-" not in path.name] == [
        path for path in before if "db.sqlite3-" not in path.name
    ]


def test_a_secret_elsewhere_goes_back_to_where_it_is_looked_for(
    installation: Installation, backup: Path, empty: Empty, tmp_path: Path
) -> None:
    machine = empty()
    elsewhere = tmp_path / "secret"
    machine.manage("restore", str(backup), SLIPWAY_SECRET_KEY_FILE=str(elsewhere))
    assert elsewhere.read_bytes() == (installation.keys / "django").read_bytes()
    assert not (machine.keys / "django").exists()


def test_there_is_nothing_to_back_up_before_the_first_start(empty: Empty, tmp_path: Path) -> None:
    assert "nothing to back up" in empty().refuse("backup", str(tmp_path / "b"))
    assert list(tmp_path.iterdir()) == []
