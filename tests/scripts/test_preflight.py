import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stack import preflight
from stack.platform_commands import PlatformCommands, StepFailed
from stack.settings import ROOT, read_stack


def test_a_port_in_use_is_told_with_its_holder():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = read_stack({"SLIPWAY_PORT": str(port)})
        (problem,) = preflight._port(stack)
        assert f"Port {port} cannot be used" in problem
        assert f"(pid {os.getpid()})" in problem
        assert f"SLIPWAY_PORT={port + 1}" in problem


def test_a_full_disk_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "MINIMUM_FREE_BYTES", 1 << 60)
    stack = read_stack({"SLIPWAY_DATA": str(tmp_path / "not" / "yet" / "there")})
    (problem,) = preflight._space(stack)
    assert str(tmp_path) in problem
    assert not (tmp_path / "not").exists()


def test_an_old_kernel_is_told(monkeypatch):
    monkeypatch.setattr(preflight.platform, "release", lambda: "5.10.0-28-amd64")
    assert "5.10.0-28-amd64 is too old" in next(preflight._kernel())


@pytest.mark.parametrize(
    ("name", "value"), [("SLIPWAY_PORT", "http"), ("SLIPWAY_PORT", "70000"), ("SLIPWAY_DATA", "x")]
)
def test_a_variable_that_cannot_be_used_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        read_stack({name: value})


def test_children_get_this_instance_and_nothing_of_another(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIPWAY_DATA", "/elsewhere")
    stack = read_stack({"SLIPWAY_DATA": str(tmp_path), "SLIPWAY_UID_BASE": "5000000"})
    environment = stack.environment()
    assert environment["SLIPWAY_DATA"] == str(tmp_path)
    assert environment["SLIPWAY_UID_BASE"] == "5000000"
    assert stack.logs == Path(tmp_path, "logs")


def test_what_the_node_would_refuse_is_refused_before_anything_is_made(tmp_path):
    places = {"SLIPWAY_DATA": str(tmp_path / "data"), "SLIPWAY_RUN": str(tmp_path / "run")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "up.py")],
        env={"PATH": os.environ["PATH"], "SLIPWAY_INSTANCE": "No/Name", **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "SLIPWAY_INSTANCE=No/Name: up to 40 lower-case letters" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_setting_the_platform_refuses_is_told_in_one_sentence(tmp_path):
    stack = read_stack(
        {
            "SLIPWAY_DATA": str(tmp_path / "data"),
            "SLIPWAY_RUN": str(tmp_path / "run"),
            "SLIPWAY_SUBNETS": "10.1.0.0/99",
        }
    )
    with pytest.raises(StepFailed) as told:
        PlatformCommands(stack, None).run("prepare")
    heading, sentence = str(told.value).splitlines()
    assert heading == "`manage.py prepare` failed:"
    assert sentence.strip().startswith("SLIPWAY_SUBNETS=10.1.0.0/99: ")
