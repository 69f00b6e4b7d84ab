"""New keys in place of old ones, with a time in which both hold, so that nothing under way is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from slipway import keys
from slipway.accounts import sealing as stored
from slipway.builds import commands as builds
from slipway.catalog.credentials import reseal_all
from slipway.nodes.models import Node
from slipway.nodes.services import register_node
from slipway.operations.errors import CannotRotate
from slipway.operations.owners import as_owner_of, own_like
from workers import sealing

FORMER_SECRETS = 4


def rotate_signing_key() -> str:
    """Sign with a new key; the node obeys the old one until no envelope of its can be alive. The public key.

    Cut off anywhere it is finished by the next call: the new key waits beside the old one, and the node
    trusts it before the first command is signed with it.
    """
    _require_single_node()
    current = keys.signing_key_file()
    waiting = current.with_name(f"{current.name}.next")
    with as_owner_of(current.parent):
        old = sealing.load_signing_key(current).public_key()
        new = sealing.ensure_signing_key(waiting).public_key()
        own_like(waiting, current)
    trusted = _node_keys() / "platform"
    if sealing.load_platform_key(trusted) not in (old, new):
        raise CannotRotate(
            "The node trusts another platform key than ours: run `manage.py register_node` first."
        )
    sealing.store_platform_key(trusted, new, overlap=sealing.ROTATION_OVERLAP)
    with as_owner_of(current.parent):
        waiting.replace(current)
    text = sealing.public_text(new)
    Node.objects.filter(name=settings.SLIPWAY_NODE).update(signed_by=text)
    return text


def rotate_node_key() -> str:
    """Commands are sealed to a new key from now on; the old one opens those under way. The public key.

    Cut off before the row is written, `register_node` or the next call writes it.
    """
    _require_single_node()
    key = sealing.public_text(sealing.rotate_node_key(_node_keys() / "node").public_key())
    trusted = sealing.public_text(sealing.load_platform_key(_node_keys() / "platform"))
    register_node(settings.SLIPWAY_NODE, key, trusted)
    return key


def rotate_django_secret() -> int:
    """A new secret; what former ones protect is accepted until ``retire_django_secrets``. How many there are.

    Web and observer take it at their next start.
    """
    file, former = Path(settings.SLIPWAY_SECRET_KEY_FILE), keys.former_secrets_file()
    with as_owner_of(file.parent):
        kept = [_read_secret(file), *(former.read_text(encoding="ascii").split() if former.exists() else [])]
        if len(kept) > FORMER_SECRETS:
            raise CannotRotate(
                f"{former} holds {FORMER_SECRETS} already: `manage.py rotate_keys --retire django` first."
            )
        # The former ones first: were we cut off between the two, the present one is only named twice.
        _write_like(former, "\n".join(dict.fromkeys(kept)), file)
        _write_like(file, keys.new_secret(), file)
    return len(kept)


def retire_django_secrets() -> int:
    """Seal second factors and registry accounts anew, forget the former secrets. How many were sealed anew.

    Sessions and links signed with a former one end. Call once all processes were started with the new one.
    """
    former = keys.former_secrets_file()
    with as_owner_of(former.parent):
        if not former.exists():
            return 0
        present = _read_secret(Path(settings.SLIPWAY_SECRET_KEY_FILE))
    if present != settings.SECRET_KEY:
        raise CannotRotate("The secret was rotated this moment by somebody else: try again.")
    with transaction.atomic():
        count = _seal_anew()
        for reseal in (reseal_all, builds.reseal_all):
            count += reseal(lambda sealed: stored.seal(stored.unseal(sealed)))
    with as_owner_of(former.parent):
        former.unlink()
    return count


def _seal_anew() -> int:
    if not apps.is_installed("allauth.mfa"):
        return 0
    adapter = import_string(settings.MFA_ADAPTER)()
    count = 0
    with transaction.atomic():
        for row in apps.get_model("mfa", "Authenticator").objects.select_for_update():
            data = {name: _again(value, adapter) for name, value in row.data.items()}
            if data != row.data:
                row.data = data
                row.save(update_fields=["data"])
                count += 1
    return count


def _again(value: Any, adapter: Any) -> Any:
    """``value`` as it is unless it is a sealed text, or a list of such."""
    if isinstance(value, list):
        return [_again(each, adapter) for each in value]
    if not isinstance(value, str) or not value.startswith("gAAAA"):  # how Fernet's tokens begin
        return value
    return adapter.encrypt(adapter.decrypt(value))


# --------------------------------------------------------------------------- files


def _require_single_node() -> None:
    """The keys of this machine's node are files here; another machine's are not in our reach."""
    if os.geteuid() != 0:
        raise CannotRotate("The node's keys are root's: run rotate_keys with sudo.")
    if not (_node_keys() / "platform").is_file():
        raise CannotRotate("This machine is no node yet: run `manage.py register_node` first.")
    if others := Node.objects.exclude(name=settings.SLIPWAY_NODE).values_list("name", flat=True):
        raise CannotRotate(f"Nodes on other machines must be told the key first: {', '.join(others)}.")


def _node_keys() -> Path:
    return Path(settings.SLIPWAY_DATA) / "node" / "keys"


def _read_secret(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise CannotRotate(f"There is no secret key at {file}: run `manage.py init_keys`.") from error


def _write_like(file: Path, text: str, model: Path) -> None:
    """The owner is right before the name is: a reader always finds a file it may read."""
    aside = file.with_name(f"{file.name}.next")
    sealing.write_secretly(aside, text)
    own_like(aside, model)
    aside.replace(file)
