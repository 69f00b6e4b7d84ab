"""Private keys of a build's ``--mount=type=ssh``, and what an agent answers with them. Pure.

The protocol is OpenSSH's (draft-miller-ssh-agent): which keys there are, and signatures. A step can add
nothing, remove nothing and never sees a key.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from workers.errors import BuildFailed
from workers.messages import SSH_PREFIX

MESSAGE_MAX = 256 << 10
FAILURE = bytes([5])
_LIST, _LISTED, _SIGN, _SIGNED = 11, 12, 13, 14
_RSA_SHA2_256, _RSA_SHA2_512 = 2, 4
_KEYS_MAX = 16
_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----", re.DOTALL)
_CURVES: dict[str, type[HashAlgorithm]] = {"secp256r1": SHA256, "secp384r1": SHA384, "secp521r1": SHA512}
Sign = Callable[[bytes, int], bytes | None]
"""(data, flags): a signature as SSH writes it, or None where the flags ask for what is not done."""


@dataclass(frozen=True)
class Key:
    public: bytes
    comment: bytes
    sign: Sign


def split(secrets: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Secrets that steps may read, and texts of keys by their id."""
    plain = {name: value for name, value in secrets.items() if not name.startswith(SSH_PREFIX)}
    keys = {name[len(SSH_PREFIX) :]: value for name, value in secrets.items() if name not in plain}
    return plain, keys


def keyring(name: str, text: str) -> tuple[Key, ...]:
    """The keys in ``text``, one after the other. Raise ``BuildFailed``, which says nothing of them."""
    blocks = _BLOCK.findall(text.replace("\r\n", "\n"))
    if not 0 < len(blocks) <= _KEYS_MAX:
        raise BuildFailed(f"--ssh {name}: 1 to {_KEYS_MAX} private keys were expected", ssh=name)
    return tuple(_key(name, f"{block}\n".encode()) for block in blocks)


def _key(name: str, data: bytes) -> Key:
    try:
        if b"BEGIN OPENSSH PRIVATE KEY" in data:
            private = serialization.load_ssh_private_key(data, None)
        else:
            private = serialization.load_pem_private_key(data, None)  # type: ignore[assignment]  # judged below
    except TypeError:
        raise BuildFailed(
            f"--ssh {name}: the key has a passphrase, and nobody to type it", ssh=name
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BuildFailed(f"--ssh {name}: the key is damaged or of an unknown kind", ssh=name) from None
    sign = _signer(private)
    if sign is None:
        raise BuildFailed(f"--ssh {name}: ed25519, ECDSA and RSA keys can be used", ssh=name)
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return Key(base64.b64decode(public.split(b" ")[1]), name.encode(), sign)


def _signer(private: object) -> Sign | None:
    match private:
        case ed25519.Ed25519PrivateKey():
            return lambda data, flags: _text(b"ssh-ed25519") + _text(private.sign(data))
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return lambda data, flags: _ecdsa(private, data)
        case rsa.RSAPrivateKey() if 2048 <= private.key_size <= 8192:
            return lambda data, flags: _rsa(private, data, flags)
        case _:
            return None


def _ecdsa(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    digest = _CURVES[private.curve.name]()
    r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
    curve = {"secp256r1": b"256", "secp384r1": b"384", "secp521r1": b"521"}[private.curve.name]
    return _text(b"ecdsa-sha2-nistp" + curve) + _text(_number(r) + _number(s))


def _rsa(private: rsa.RSAPrivateKey, data: bytes, flags: int) -> bytes | None:
    """Without a flag SHA-1 is asked for, which no server should take any longer."""
    if flags & _RSA_SHA2_512:
        return _text(b"rsa-sha2-512") + _text(private.sign(data, padding.PKCS1v15(), SHA512()))
    if flags & _RSA_SHA2_256:
        return _text(b"rsa-sha2-256") + _text(private.sign(data, padding.PKCS1v15(), SHA256()))
    return None


# --------------------------------------------------------------------------- the protocol


def answer(keys: tuple[Key, ...], message: bytes) -> bytes:
    """To one message, both without their length. Whatever is not known or not whole is a failure."""
    if message == bytes([_LIST]):
        listed = b"".join(_text(key.public) + _text(key.comment) for key in keys)
        return bytes([_LISTED]) + len(keys).to_bytes(4, "big") + listed
    if message[:1] != bytes([_SIGN]):
        return FAILURE
    public, rest = _taken(message[1:])
    data, flags = _taken(rest)
    key = next((each for each in keys if each.public == public), None)
    if key is None or data is None or len(flags) != 4:
        return FAILURE
    signature = key.sign(data, int.from_bytes(flags, "big"))
    return FAILURE if signature is None else bytes([_SIGNED]) + _text(signature)


def _taken(data: bytes) -> tuple[bytes | None, bytes]:
    """The text that ``data`` begins with, and what follows it."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        return None, b""
    return data[4 : 4 + size], data[4 + size :]


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _number(value: int) -> bytes:
    """Signed, so that a first bit that is set has a zero before it."""
    return _text(value.to_bytes(value.bit_length() // 8 + 1, "big"))
