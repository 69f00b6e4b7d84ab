"""The units are what systemd understands, start what `make up` starts, and allow nobody more than needed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from slipway.operations.errors import CannotInstall
from slipway.operations.management.commands.install_service import masked
from slipway.operations.units import Installation, environment, units
from stack import programs
from stack.settings import Stack

HERE = Installation(
    root=Path("/opt/slipway"),
    python=Path("/opt/slipway/.venv/bin/python"),
    data=Path("/var/lib/slipway"),
    run=Path("/run/slipway"),
    instance="slipway",
    node="local",
    port=8000,
    user="slipway",
    environment_file=Path("/etc/slipway/slipway.env"),
    local_postgres=False,
)
UNPRIVILEGED = ("redis", "observer", "web")


class Unit(ConfigParser):
    """Keys that come again are joined with newlines."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",))
        self.optionxform = str  # type: ignore[assignment]  # as configparser documents it
        section, self.commands = "", []
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if line.startswith("["):
                section = line[1:-1]
                self.add_section(section)
            elif line:
                assert section
                if name.startswith("Exec"):
                    self.commands.append((name, value))
                self.set(section, name, value)


def unit(name: str, of: Installation = HERE) -> Unit:
    return Unit(units(of)[f"{of.prefix}-{name}.service"])


def test_every_line_of_every_unit_is_a_setting_in_a_section() -> None:
    for text in units(HERE).values():
        assert all("=" in line or line.startswith("[") for line in text.splitlines() if line)
        assert set(Unit(text).sections()) <= {"Unit", "Service", "Install"}


@pytest.mark.parametrize("name", ["redis", "agent", "worker", "observer", "web"])
def test_a_service_starts_what_make_up_starts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "ROOT", HERE.root)
    stack = Stack(HERE.data, HERE.run, HERE.node, HERE.instance, HERE.port, HERE.python, {})
    make = getattr(programs, name)
    program = make(stack) if name in ("agent", "worker") else make(stack, "slipway")
    words = shlex.split(unit(name)["Service"]["ExecStart"])
    words = [word for word in words if word not in ("/usr/bin/env", "--chdir=/run/slipway/work")]
    assert [Path(words[0]).name, *words[1:]] == [Path(program.argv[0]).name, *program.argv[1:]]


@pytest.mark.parametrize("name", ["agent", "worker"])
def test_the_node_has_its_groups_delegated_and_shares_the_machines_mounts(name: str) -> None:
    service = unit(name)["Service"]
    assert (service["User"], service["Delegate"], service["KillMode"]) == ("root", "yes", "mixed")
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert not [key for key in service if key.startswith(("Private", "Protect", "ReadWrite"))]


@pytest.mark.parametrize("name", UNPRIVILEGED)
def test_who_needs_no_privilege_has_none(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] == "slipway"
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "LockPersonality"):
        assert service[key] == "yes"
    assert "Delegate" not in service


def test_redis_has_no_network() -> None:
    assert unit("redis")["Service"]["PrivateNetwork"] == "yes"
    assert unit("redis")["Service"]["RestrictAddressFamilies"] == "AF_UNIX"


@pytest.mark.parametrize("name", ["agent", "worker", "observer", "web"])
def test_nobody_starts_before_keys_and_schema_are_there(name: str) -> None:
    assert "slipway-prepare.service" in unit(name)["Unit"]["After"].split()
    assert unit(name)["Unit"]["Requires"] == "slipway-prepare.service"


def test_root_neither_works_nor_lives_where_the_service_user_writes() -> None:
    for name in ("agent", "worker"):
        assert "/var/lib/slipway/platform" not in units(HERE)[f"slipway-{name}.service"]


def test_units_of_a_second_instance_have_names_of_their_own() -> None:
    blue = replace(HERE, instance="blue", run=Path("/run/blue"))
    assert all(name.startswith("slipway-blue") for name in units(blue))
    assert unit("worker", blue)["Service"]["RuntimeDirectory"] == "blue"
    with pytest.raises(CannotInstall, match="below /run"):
        units(replace(HERE, run=Path("/var/tmp/run")))


def test_a_database_on_this_machine_is_waited_for() -> None:
    assert "postgresql.service" in unit("web", replace(HERE, local_postgres=True))["Unit"]["After"]


def test_variables_are_quoted_and_shown_without_passwords() -> None:
    given = {"SLIPWAY_DATABASE_URL": 'postgresql://me:pa$s"@host/db', "SLIPWAY_TLS": "on"}
    assert environment(given) == (
        'SLIPWAY_DATABASE_URL="postgresql://me:pa\\$s\\"@host/db"\nSLIPWAY_TLS="on"\n'
    )
    assert masked(given)["SLIPWAY_DATABASE_URL"] == "postgresql://me:…@host/db"
    with pytest.raises(CannotInstall, match="SLIPWAY_X"):
        environment({"SLIPWAY_X": "a\nb"})


def test_a_dry_run_prints_and_writes_nothing(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.SLIPWAY_RUN = Path("/run/slipway")
    call_command("install_service", "--dry-run", "--directory", str(tmp_path))
    said = capsys.readouterr().out
    assert "# slipway-swt" in said
    assert "Delegate=yes" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    for directory in ("checkout", "data"):
        (tmp_path / directory).mkdir()
    python = tmp_path / "checkout" / "python"
    python.symlink_to("/usr/bin/true")
    of = replace(
        HERE, root=tmp_path / "checkout", python=python, environment_file=Path("/dev/null"), user="daemon"
    )
    files = []
    for name, text in units(of).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
