from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from slipway.operations import formats, upgrades
from tests.slipway.operations.conftest import Installation
from workers.checks import Check


@pytest.fixture
def data(settings: Any, tmp_path: Path) -> Path:
    settings.SLIPWAY_PLATFORM_DATA = tmp_path
    settings.SLIPWAY_KEYS = tmp_path / "keys"
    settings.SLIPWAY_KEYS.mkdir()
    return tmp_path


def line(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_an_installation_that_is_up_to_date_has_nothing_to_do(installation: Installation) -> None:
    done = installation.run("upgrade", "--check")
    assert "migrations" in done.stdout
    assert "all applied" in done.stdout
    assert "as requirements/run.txt says" in done.stdout


def test_pending_migrations_are_named_and_do_not_stand_in_the_way(installation: Installation) -> None:
    installation.manage("migrate", "nodes", "zero", "--fake", "--verbosity", "0")
    try:
        done = installation.run("upgrade", "--check")
    finally:
        installation.manage("migrate", "--fake", "--verbosity", "0")
    assert "to apply: nodes.0001_initial" in done.stdout
    assert "back up" in done.stdout


@pytest.mark.django_db
def test_a_database_of_a_newer_slipway_stands_in_the_way() -> None:
    MigrationRecorder(connection).record_applied("nodes", "9999_of_the_future")
    check = line(upgrades._migrations(), "migrations")
    assert check.status == "missing"
    assert "nodes.9999_of_the_future" in check.why


def test_data_of_a_newer_format_is_touched_by_nobody(data: Path) -> None:
    formats.note()
    assert formats.read() == formats.FORMAT
    formats.file().write_text("2\n")
    assert upgrades._format().status == "missing"
    with pytest.raises(CommandError, match=r"is of format 2; this Slipway knows up to\s+1"):
        call_command("prepare")
    formats.note()
    assert formats.read() == 2


def test_packages_are_compared_with_the_lock(settings: Any, tmp_path: Path) -> None:
    settings.ROOT = tmp_path
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "run.txt"
    lock.write_text("django==0.1 \\\n    --hash=sha256:00\nno-such-package[extra]==1.0 \\\n")
    (check,) = upgrades._packages()
    assert check.status == "missing"
    assert "django 5." in check.why
    assert "no-such-package not installed, wanted 1.0" in check.why
