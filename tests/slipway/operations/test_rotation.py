from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from django.core import signing
from django.core.management import CommandError, call_command

from slipway import dispatch, keys
from slipway.catalog.models import RegistryCredential
from slipway.nodes.models import Node
from slipway.operations import rotation
from slipway.operations.errors import CannotRotate
from slipway.operations.owners import as_owner_of
from tests.environment import scratch
from tests.factories import make_node, make_project
from workers import sealing

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(os.geteuid() != 0, reason="rotates keys of root's"),
]


@pytest.fixture(autouse=True)
def node_keys(settings: Any, tmp_path: Path) -> Path:
    """Of a registered node; the directory."""
    settings.SLIPWAY_DATA = tmp_path
    settings.SLIPWAY_KEYS = tmp_path / "platform" / "keys"
    settings.SLIPWAY_SECRET_KEY_FILE = settings.SLIPWAY_KEYS / "django"
    call_command("init_keys")
    call_command("register_node")
    return tmp_path / "node" / "keys"


def test_the_platform_signs_with_a_new_key_that_the_node_already_trusts(node_keys: Path) -> None:
    before = sealing.load_signing_key(keys.signing_key_file()).public_key()
    held = dispatch._signing_key()  # a web process that runs
    call_command("rotate_keys", "signing")
    after = sealing.load_signing_key(keys.signing_key_file()).public_key()
    assert after != before == held.public_key()
    assert dispatch._signing_key().public_key() == after
    assert sealing.load_platform_keys(node_keys / "platform") == (after, before)
    later = time.time() + sealing.ROTATION_OVERLAP + 1
    assert sealing.load_platform_keys(node_keys / "platform", later) == (after,)
    assert Node.objects.get().signed_by == sealing.public_text(after)
    assert not list(keys.signing_key_file().parent.glob("*.next"))


def test_the_start_after_a_rotation_does_not_end_the_overlap(node_keys: Path) -> None:
    call_command("rotate_keys", "signing", "node")
    call_command("register_node")
    assert len(sealing.load_platform_keys(node_keys / "platform")) == 2
    assert len(sealing.load_node_keys(node_keys / "node")) == 2


def test_a_rotation_that_was_cut_off_is_finished_by_the_next(node_keys: Path) -> None:
    current = keys.signing_key_file()
    waiting = sealing.ensure_signing_key(current.with_name("signing.next")).public_key()
    sealing.store_platform_key(node_keys / "platform", waiting, overlap=60.0)
    assert rotation.rotate_signing_key() == sealing.public_text(waiting)
    assert sealing.load_signing_key(current).public_key() == waiting


def test_commands_are_sealed_to_the_nodes_new_key(node_keys: Path) -> None:
    call_command("rotate_keys", "node")
    new, old = sealing.load_node_keys(node_keys / "node")
    assert Node.objects.get().public_key == sealing.public_text(new.public_key())
    assert new.private_bytes_raw() != old.private_bytes_raw()


def test_what_a_former_secret_signed_is_accepted_until_it_is_retired(settings: Any) -> None:
    file = Path(settings.SLIPWAY_SECRET_KEY_FILE)
    settings.SECRET_KEY = file.read_text().strip()
    signed = signing.dumps("a session")
    call_command("rotate_keys", "django")
    assert file.read_text().strip() != settings.SECRET_KEY
    assert stat.S_IMODE(keys.former_secrets_file().stat().st_mode) == 0o600
    settings.SECRET_KEY_FALLBACKS = keys.former_secrets_file().read_text().split()
    settings.SECRET_KEY = file.read_text().strip()
    assert signing.loads(signed) == "a session"
    call_command("rotate_keys", "--retire", "django")
    assert not keys.former_secrets_file().exists()


def test_former_secrets_do_not_pile_up(settings: Any) -> None:
    for _ in range(rotation.FORMER_SECRETS):
        rotation.rotate_django_secret()
    with pytest.raises(CannotRotate, match="--retire django"):
        rotation.rotate_django_secret()


def test_second_factors_and_registry_accounts_are_sealed_anew_before_a_secret_is_forgotten(
    settings: Any,
) -> None:
    from allauth.mfa.models import Authenticator

    from slipway.accounts import sealing as people
    from tests.factories import make_user

    file = Path(settings.SLIPWAY_SECRET_KEY_FILE)
    settings.SECRET_KEY = file.read_text().strip()
    row = Authenticator.objects.create(
        user=make_user(), type=Authenticator.Type.TOTP, data={"secret": people.seal("JBSWY3DP"), "n": 1}
    )
    account = RegistryCredential.objects.create(
        project=make_project(), host="example.org", username="ada", sealed_secret=people.seal("s3cret")
    )
    rotation.rotate_django_secret()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = file.read_text().strip()
    assert rotation.retire_django_secrets() == 2
    settings.SECRET_KEY_FALLBACKS = []
    row.refresh_from_db()
    account.refresh_from_db()
    assert people.unseal(row.data["secret"]) == "JBSWY3DP"
    assert people.unseal(account.sealed_secret) == "s3cret"


def test_nodes_elsewhere_must_be_told_first() -> None:
    make_node("far")
    with pytest.raises(CommandError, match="other machines must be told the key first: far"):
        call_command("rotate_keys", "signing")


def test_keys_stay_the_service_users(settings: Any) -> None:
    # Not below a directory of pytest's, which nobody else may pass through.
    directory = scratch() / "keys"
    shutil.copytree(settings.SLIPWAY_KEYS, directory)
    for path in (directory, *directory.iterdir()):
        os.chown(path, 65534, 65534)
    settings.SLIPWAY_KEYS, settings.SLIPWAY_SECRET_KEY_FILE = directory, directory / "django"
    call_command("rotate_keys", "signing", "django")
    found = {path.name: path.stat() for path in directory.iterdir()}
    assert found.keys() == {"django", "django.former", "signing"}
    assert {(each.st_uid, stat.S_IMODE(each.st_mode)) for each in found.values()} == {(65534, 0o600)}


def test_a_link_of_the_service_users_leads_root_nowhere(tmp_path: Path) -> None:
    roots, theirs = tmp_path / "roots", tmp_path / "theirs"
    roots.mkdir(mode=0o700)
    theirs.symlink_to(roots)
    os.chown(theirs, 65534, 65534, follow_symlinks=False)
    with as_owner_of(theirs), pytest.raises(PermissionError):
        (theirs / "file").touch()
    assert os.geteuid() == 0
    (roots / "file").touch()
