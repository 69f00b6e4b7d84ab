"""Envelopes: only the platform makes them, only the node opens them, and nobody bends them."""

from __future__ import annotations

import base64
import json
import stat
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from workers import sealing
from workers.errors import BadCommand, NodeError

NODE_KEY = X25519PrivateKey.generate()
PLATFORM_KEY = Ed25519PrivateKey.generate()
NOW = 1_800_000_000.0


def seal(text: str = '{"kind":"x"}', node: str = "local", lifetime: float = 60.0) -> str:
    return sealing.seal(
        text,
        node=node,
        node_public_key=NODE_KEY.public_key(),
        signing_key=PLATFORM_KEY,
        lifetime=lifetime,
        now=NOW,
    )


def open_(envelope: str, *, node: str = "local", now: float = NOW, key: X25519PrivateKey = NODE_KEY) -> str:
    return sealing.open_(
        envelope, node=node, node_key=key, platform_public_key=PLATFORM_KEY.public_key(), now=now
    )


ENVELOPE = seal()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_what_was_sealed_is_opened(text: str) -> None:
    assert open_(seal(text)) == text


def test_the_envelope_does_not_show_the_command() -> None:
    envelope = seal("SECRET=hunter2")
    readable = b"".join(base64.urlsafe_b64decode(part + "===") for part in envelope.split(".")[1:])
    assert b"hunter2" not in readable


@given(st.integers(0, len(ENVELOPE) - 1), st.characters(max_codepoint=0x2FF))
def test_no_changed_character_goes_unnoticed(index: int, character: str) -> None:
    changed = ENVELOPE[:index] + character + ENVELOPE[index + 1 :]
    if changed == ENVELOPE:
        return
    with pytest.raises(BadCommand):
        open_(changed)


@given(st.one_of(st.text(max_size=300), st.lists(st.text(max_size=40), min_size=4, max_size=4).map(".".join)))
def test_what_is_no_envelope_is_refused(text: str) -> None:
    with pytest.raises(BadCommand):
        open_(text)


@given(st.integers(0, len(ENVELOPE) - 1))
def test_a_truncated_envelope_is_refused(length: int) -> None:
    with pytest.raises(BadCommand):
        open_(ENVELOPE[:length])


def test_parts_of_two_envelopes_do_not_mix() -> None:
    one, two = seal("one").split("."), seal("two").split(".")
    for mixed in ([*one[:2], *two[2:]], [*one[:3], two[3]], [one[0], two[1], *one[2:]]):
        with pytest.raises(BadCommand, match="signature"):
            open_(".".join(mixed))


def test_another_node_refuses_it_by_name() -> None:
    with pytest.raises(BadCommand, match="it is for node 'local', not 'other'"):
        open_(ENVELOPE, node="other")


def test_another_nodes_key_does_not_open_it() -> None:
    with pytest.raises(BadCommand, match="register node 'local' again"):
        open_(ENVELOPE, key=X25519PrivateKey.generate())


def test_it_expires() -> None:
    open_(ENVELOPE, now=NOW + 59.9)
    with pytest.raises(BadCommand, match="expired 0 s ago"):
        open_(ENVELOPE, now=NOW + 60)


def test_one_from_the_far_future_names_the_clocks() -> None:
    open_(ENVELOPE, now=NOW - sealing.CLOCK_SKEW)
    with pytest.raises(BadCommand, match="compare the node's clock"):
        open_(ENVELOPE, now=NOW - sealing.CLOCK_SKEW - 1)


def test_a_lifetime_that_is_no_number_is_refused() -> None:
    with pytest.raises(BadCommand):
        open_(seal(lifetime=float("nan")))


def test_a_stranger_with_a_key_of_their_own_is_refused() -> None:
    forged = sealing.seal(
        "{}",
        node="local",
        node_public_key=NODE_KEY.public_key(),
        signing_key=Ed25519PrivateKey.generate(),
        now=NOW,
    )
    with pytest.raises(BadCommand, match="the signature is not the platform's"):
        open_(forged)


@pytest.mark.parametrize(
    "fields", [{}, {"node": 1}, {"ephemeral": 5}, {"ephemeral": "AAAA"}, {"issued": "x"}, []]
)
def test_a_header_that_is_signed_but_malformed_is_refused(fields: object) -> None:
    good = json.loads(base64.urlsafe_b64decode(ENVELOPE.split(".")[1] + "==="))
    body = {**{key: good[key] for key in good if fields}, **fields} if isinstance(fields, dict) else fields
    header = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()
    signed = f"slipway1.{header}.{ENVELOPE.split('.')[2]}"
    signature = base64.urlsafe_b64encode(PLATFORM_KEY.sign(signed.encode())).rstrip(b"=").decode()
    with pytest.raises(BadCommand):
        open_(f"{signed}.{signature}")


def test_keys_are_made_once_with_mode_0600_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "node"
    key = sealing.ensure_node_key(path)
    again = sealing.ensure_node_key(path)
    assert (
        key.private_bytes_raw()
        == again.private_bytes_raw()
        == sealing.load_node_key(path).private_bytes_raw()
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["node"]


def test_two_who_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    keys: list[bytes] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        keys.append(sealing.ensure_signing_key(tmp_path / "signing").private_bytes_raw())

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_public_keys_travel_as_text(tmp_path: Path) -> None:
    public = PLATFORM_KEY.public_key()
    assert sealing.parse_platform_key(sealing.public_text(public)) == public
    node = NODE_KEY.public_key()
    assert sealing.parse_node_key(sealing.public_text(node)) == node
    sealing.store_platform_key(tmp_path / "platform", public)
    assert sealing.load_platform_key(tmp_path / "platform") == public


def test_a_missing_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"not registered\. Run `manage\.py register_node`"):
        sealing.load_node_key(tmp_path / "node")


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("not a key")
    with pytest.raises(NodeError, match="node holds no private key"):
        sealing.load_node_key(tmp_path / "node")


def test_former_keys_hold_until_their_time_and_leave_the_file_with_the_next_rotation(tmp_path: Path) -> None:
    path = tmp_path / "node"
    first = sealing.ensure_node_key(path)
    second = sealing.rotate_node_key(path, overlap=100.0)
    third = sealing.rotate_node_key(path, overlap=200.0)
    assert path.stat().st_mode & 0o777 == 0o600

    def held(after: float) -> list[bytes]:
        return [key.private_bytes_raw() for key in sealing.load_node_keys(path, time.time() + after)]

    assert held(0) == [key.private_bytes_raw() for key in (third, second, first)]
    assert held(150) == [key.private_bytes_raw() for key in (third, second)]
    assert held(250) == [third.private_bytes_raw()]
    assert sealing.load_node_key(path).private_bytes_raw() == third.private_bytes_raw()


def test_telling_a_node_the_same_key_again_ends_no_overlap(tmp_path: Path) -> None:
    path, successor = tmp_path / "platform", Ed25519PrivateKey.generate().public_key()
    sealing.store_platform_key(path, PLATFORM_KEY.public_key())
    sealing.store_platform_key(path, successor, overlap=60.0)
    sealing.store_platform_key(path, successor)
    assert sealing.load_platform_keys(path) == (successor, PLATFORM_KEY.public_key())
    assert sealing.load_platform_keys(path, time.time() + 61) == (successor,)
