"""Points at which tests have a process killed: only there, only then, only once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import ROOT
from workers import crash

INSTANCE = "swt7x1"


def armed(run: Path, names: str = "all", instance: str = INSTANCE) -> crash.Armed | None:
    return crash.read({"SLIPWAY_CRASH": names, "SLIPWAY_RUN": str(run), "SLIPWAY_INSTANCE": instance})


def token(run: Path, name: str) -> Path:
    path = run / "crash" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("instance", ["", "slipway", "slipway-swt7", "production", "swt-7"])
def test_an_instance_that_is_no_test_is_never_armed(tmp_path: Path, instance: str) -> None:
    assert armed(tmp_path, instance=instance) is None


def test_nothing_is_armed_without_being_named(tmp_path: Path) -> None:
    assert armed(tmp_path, names="") is None


def test_a_token_is_used_up_by_the_one_it_kills(tmp_path: Path) -> None:
    every = armed(tmp_path)
    assert every is not None
    assert not every.takes("run.after_mount")
    path = token(tmp_path, "run.after_mount")
    assert not every.takes("run.after_start")
    assert every.takes("run.after_mount")
    assert not path.exists()
    assert not every.takes("run.after_mount")


def test_only_the_points_that_are_named_look_for_tokens(tmp_path: Path) -> None:
    some = armed(tmp_path, names="a,b")
    assert some is not None
    token(tmp_path, "b")
    token(tmp_path, "c")
    assert some.takes("b")
    assert not some.takes("c")


def test_a_part_is_left_out_for_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    every = armed(tmp_path)
    assert every is not None
    path = token(tmp_path, "without.sweep")
    assert every.is_without("sweep")
    path.unlink()
    assert not every.is_without("sweep")


def test_this_very_process_dies_by_sigkill_where_it_is(tmp_path: Path) -> None:
    token(tmp_path, "here")
    steps = "crash.point('there'); print('there', flush=True); crash.point('here')"
    done = subprocess.run(
        [sys.executable, "-c", f"from workers import crash; {steps}"],
        cwd=ROOT,
        env={
            **os.environ,
            "SLIPWAY_CRASH": "all",
            "SLIPWAY_RUN": str(tmp_path),
            "SLIPWAY_INSTANCE": INSTANCE,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "there\n")
