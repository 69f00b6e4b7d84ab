"""The doctor's node lines on this machine: everything is really tried, and nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import instance
from workers.checks import Check
from workers.engine.cgroups import parse_mounts
from workers.engine.doctor import examine
from workers.engine.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o711)  # a container's root must get through to its rootfs
    return Places(tmp_path / "data", tmp_path / "run")


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_node_that_runs_these_tests_is_found_able_to(places: Places, tmp_path: Path) -> None:
    found = by_name(examine(places, f"doctor{os.getpid()}"))
    for name in (
        "kernel",
        "user namespaces",
        "overlay",
        "pidfd",
        "cgroup controllers",
        "seccomp",
        "nftables",
    ):
        assert found[name].status == "ok", found[name]
    assert "ok" in (found["crun"].status, found["runc"].status)
    assert list(tmp_path.iterdir()) == []


def test_the_examination_leaves_no_table_mount_or_cgroup(places: Places) -> None:
    name = instance()
    examine(places, name)
    mountinfo = Path("/proc/self/mountinfo").read_text()
    assert str(places.data.parent) not in mountinfo
    assert not [tree for tree in parse_mounts(mountinfo).trees() if list(tree.glob(f"{name}*"))]
    tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    assert f"slipway-doctor-{os.getpid()}" not in tables


def test_every_line_that_is_not_ok_says_how_to_mend_it(places: Places) -> None:
    for check in examine(places, f"doctor{os.getpid()}"):
        assert check.why
        assert bool(check.fix) is (check.status != "ok"), check


def test_the_command_prints_json_without_django(places: Places) -> None:
    command = [
        sys.executable,
        "-m",
        "workers.engine.doctor",
        "--json",
        "--data",
        places.data,
        "--run",
        places.run,
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = json.loads(done.stdout)
    assert {line["status"] for line in lines} <= {"ok", "degraded", "missing"}
    assert done.returncode == int(any(line["status"] == "missing" for line in lines))


def test_trying_the_runtimes_leaves_the_nodes_devices_its_own(places: Places) -> None:
    before = os.stat(os.devnull)
    examine(places, f"doctor{os.getpid()}")
    after = os.stat(os.devnull)
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
