"""What a build's agent answers, to programs that speak the protocol and to those that do not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.build.sshagent import listening
from workers.engine.build.sshkeys import FAILURE, answer, keyring, split
from workers.errors import BuildFailed

LIST = bytes([11])


def text(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def pem(key: object, form: str = "OpenSSH") -> str:
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]  # any private key
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), serialization.NoEncryption()
    ).decode()


ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
KEYS = keyring("default", pem(ED) + pem(RSA))


def sign(public: bytes, data: bytes, flags: int) -> bytes:
    return bytes([13]) + text(public) + text(data) + flags.to_bytes(4, "big")


def test_keys_are_listed_in_their_order() -> None:
    said = answer(KEYS, LIST)
    assert said[:5] == bytes([12, 0, 0, 0, 2])
    assert said.index(b"ssh-ed25519") < said.index(b"ssh-rsa")


def test_rsa_signs_as_the_flags_say_and_never_with_sha1() -> None:
    public = KEYS[1].public
    said = answer(KEYS, sign(public, b"words", 4))
    assert said[:1] == bytes([14])
    assert said[5:21] == text(b"rsa-sha2-512")
    RSA.public_key().verify(said[25:], b"words", padding.PKCS1v15(), SHA512())
    assert answer(KEYS, sign(public, b"words", 2))[9:21] == b"rsa-sha2-256"
    assert answer(KEYS, sign(public, b"words", 0)) == FAILURE


@pytest.mark.parametrize(
    "message",
    [b"", bytes([1]), bytes([13]), bytes([13, 0, 0, 0, 9]), bytes([17]) + text(b"ssh-ed25519"), bytes([19]),
     bytes([27]) + text(b"session-bind@openssh.com"), sign(b"another key", b"x", 0), LIST + b"more"],
)  # fmt: skip
def test_whatever_else_is_asked_fails(message: bytes) -> None:
    assert answer(KEYS, message) == FAILURE


@given(st.binary(max_size=200))
def test_no_message_does_harm(message: bytes) -> None:
    for each in (message, bytes([13]) + message, bytes([13]) + text(KEYS[0].public) + message):
        assert answer(KEYS, each)[:1] in (bytes([5]), bytes([12]), bytes([14]))


@pytest.mark.parametrize("form", ["OpenSSH", "PKCS8", "TraditionalOpenSSL"])
def test_keys_come_in_several_forms(form: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    text = f"a comment\n{pem(key, form)}"
    assert [each.public for each in keyring("a", text)] == [
        each.public
        for each in keyring("a", text.replace("\n", "\r\n"))  # as browsers send it
    ]


@pytest.mark.parametrize(
    "key",
    ["", "no key", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", pem(ED) * 17,
     pem(dsa.generate_private_key(2048), "PKCS8"), pem(ec.generate_private_key(ec.SECP256K1()), "PKCS8"),
     pem(rsa.generate_private_key(65537, 1024), "PKCS8")],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BuildFailed) as raised:
        keyring("default", key)
    assert "BEGIN" not in raised.value.message


def test_keys_and_secrets_are_told_apart() -> None:
    assert split({"a": "1", "ssh:a": "2"}) == ({"a": "1"}, {"a": "2"})


def test_too_many_connections_and_too_long_messages_are_cut(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 60) / ("b" * 60) / "agent"
    path.parent.mkdir(parents=True)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    address = f"/proc/self/fd/{directory}/agent"
    with listening(path, KEYS):
        opened = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(address)
            client.settimeout(10)
            opened.append(client)
        answered = [ask(client, text(LIST)) for client in opened]
        assert answered.count(b"") == 4
        assert {each[4:5] for each in answered if each} == {bytes([12])}
        assert ask(opened[0], (1 << 30).to_bytes(4, "big") + b"x") == b""
        for client in opened:
            client.close()
    os.close(directory)


def ask(client: socket.socket, message: bytes) -> bytes:
    try:
        client.sendall(message)
        return client.recv(4096)
    except (BrokenPipeError, ConnectionResetError):
        return b""
