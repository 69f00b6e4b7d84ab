from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from slipway import keys
from slipway.accounts.models import User
from slipway.accounts.services import authenticate_token
from slipway.jobs.models import Job, JobState
from slipway.nodes.models import Node
from slipway.projects.models import Project
from tests.factories import make_image, make_node, make_user
from tests.roads import RecordingRoad
from workers import sealing
from workers.messages import BakeImage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.SLIPWAY_DATA = tmp_path
    settings.SLIPWAY_KEYS = tmp_path / "platform" / "keys"
    settings.SLIPWAY_SECRET_KEY_FILE = settings.SLIPWAY_KEYS / "django"
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="writes the keys of root")
def test_a_node_is_registered_with_keys_that_fit(data: Path) -> None:
    call_command("init_keys")
    call_command("register_node")
    row = Node.objects.get(name="local")
    node_key = sealing.load_node_key(data / "node" / "keys" / "node")
    trusted = sealing.load_platform_key(data / "node" / "keys" / "platform")
    signing = sealing.load_signing_key(keys.signing_key_file())
    assert row.public_key == sealing.public_text(node_key.public_key())
    assert row.signed_by == sealing.public_text(trusted) == sealing.public_text(signing.public_key())
    assert stat.S_IMODE((data / "node").stat().st_mode) == 0o700
    call_command("init_keys")
    call_command("register_node")
    assert Node.objects.get().public_key == row.public_key


@pytest.mark.skipif(os.geteuid() != 0, reason="writes the keys of root")
def test_a_node_is_not_registered_before_the_platform_has_keys() -> None:
    with pytest.raises(CommandError, match="init_keys"):
        call_command("register_node")
    assert not Node.objects.exists()


def test_the_first_administrators_password_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_admin")
    password = capsys.readouterr().out.split("Password:")[1].strip()
    user = User.objects.get()
    assert user.is_staff
    assert user.check_password(password)
    call_command("create_admin")
    assert "exists" in capsys.readouterr().out
    assert User.objects.get().password == user.password
    call_command("create_admin", "--reset")
    assert not User.objects.get().check_password(password)


def test_somebody_elses_account_is_not_made_an_administrators() -> None:
    make_user("admin")
    with pytest.raises(CommandError, match="no administrator"):
        call_command("create_admin")


def test_a_token_is_printed_and_opens(capsys: pytest.CaptureFixture[str]) -> None:
    user = make_user("ada")
    call_command("create_token", "ada", "--scope", "read", "--days", "2")
    actor = authenticate_token(capsys.readouterr().out.strip())
    assert actor.user == user
    assert actor.token is not None
    assert actor.token.scopes == ["read"]
    with pytest.raises(CommandError):
        call_command("create_token", "nobody")


def test_a_base_image_is_asked_for_once(capsys: pytest.CaptureFixture[str], road: RecordingRoad) -> None:
    with pytest.raises(CommandError, match="ensure_library"):
        call_command("bake_image", "busybox")
    make_node()
    call_command("ensure_library")
    call_command("bake_image", "busybox")
    call_command("bake_image", "busybox")
    assert [type(command) for command in road.take()] == [BakeImage]
    Job.objects.update(state=JobState.SUCCEEDED)
    make_image(Project.objects.get(library=True))
    call_command("bake_image", "busybox")
    assert "The library has busybox:latest." in capsys.readouterr().out
    assert road.take() == []


def test_waiting_for_a_job_that_failed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    make_node()
    call_command("ensure_library")
    call_command("bake_image", "busybox")
    cause = {"code": "NO_SPACE", "message": "the disk is full"}

    def fail(job: Job, *_: Any, **__: Any) -> None:
        job.state, job.cause = JobState.FAILED, cause

    monkeypatch.setattr(Job, "refresh_from_db", fail)
    with pytest.raises(CommandError, match="the disk is full"):
        call_command("bake_image", "busybox", "--wait")
