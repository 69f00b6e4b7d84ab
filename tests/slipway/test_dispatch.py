from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.db import transaction

from slipway import dispatch, keys
from tests.factories import make_node
from tests.roads import RecordingRoad
from workers import sealing
from workers.messages import StopContainer, decode_command

pytestmark = pytest.mark.django_db
COMMAND = StopContainer("ab" * 32, 3, 5.0)


def test_a_command_leaves_when_the_transaction_commits(road: RecordingRoad) -> None:
    node = make_node()
    with transaction.atomic():
        dispatch.send(COMMAND, node)
        assert road.sent == []
    assert road.take() == [COMMAND]


@pytest.mark.django_db(transaction=True)
def test_a_command_of_a_transaction_that_failed_never_leaves(road: RecordingRoad) -> None:
    node = make_node()

    def fail() -> None:
        with transaction.atomic():
            dispatch.send(COMMAND, node)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert road.sent == []


def test_the_queue_holds_what_only_the_node_can_open(
    settings: Any, broker: redis.Redis, redis_socket: Path
) -> None:
    keys.ensure()
    settings.SLIPWAY_REDIS_URL = f"unix://{redis_socket}"
    settings.SLIPWAY_INSTANCE = "test"
    node_key = X25519PrivateKey.generate()
    node = make_node("far", public_key=sealing.public_text(node_key.public_key()))
    dispatch.CeleryRoad().deliver(COMMAND, node)
    raw = broker.rpop("test:celery:node.far")
    assert broker.keys() == []
    message = json.loads(raw)
    assert message["headers"]["task"] == "workers.tasks.execute"
    ((envelope,), _, _) = json.loads(base64.b64decode(message["body"]))
    assert COMMAND.container not in envelope
    platform = sealing.load_signing_key(keys.signing_key_file()).public_key()
    opened = sealing.open_(envelope, node="far", node_key=node_key, platform_public_key=platform)
    assert decode_command(opened) == COMMAND


def test_a_broker_that_is_away_is_an_os_error_at_once(settings: Any, tmp_path: Path) -> None:
    keys.ensure()
    settings.SLIPWAY_REDIS_URL = f"unix://{tmp_path}/absent.sock"
    with pytest.raises(OSError, match="does not answer"):
        dispatch.CeleryRoad().deliver(COMMAND, make_node())


def test_keys_are_made_once_and_closed_to_others(settings: Any, tmp_path: Path) -> None:
    settings.SLIPWAY_KEYS = tmp_path / "keys"
    settings.SLIPWAY_SECRET_KEY_FILE = tmp_path / "keys" / "django"
    public = keys.ensure()
    secret = settings.SLIPWAY_SECRET_KEY_FILE.read_text()
    assert keys.ensure() == public
    assert settings.SLIPWAY_SECRET_KEY_FILE.read_text() == secret
    assert [file.stat().st_mode & 0o777 for file in settings.SLIPWAY_KEYS.iterdir()] == [0o600, 0o600]
    keys.require()
