"""Commands sealed to one node and signed by the platform.

An envelope is text: ``slipway1.<header>.<ciphertext>.<signature>``, each part base64url without padding.
The header (JSON: node, issued, expires, ephemeral) is readable, and bound to the ciphertext as its
associated data; the Ed25519 signature covers everything before it. The key of the ciphertext is
HKDF-SHA256 over an X25519 agreement between a key made for this one envelope and the node's.

Somebody who can write to the broker can thus neither read, make, alter nor redirect a command. They can
deliver one again until it expires; commands are idempotent, so that changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workers.errors import BadCommand, NodeError

PREFIX = "slipway1"
LIFETIME = 3600.0
"""Seconds. A node may be down for a while; the platform's sweep sends again what expired on the way."""
CLOCK_SKEW = 300.0
"""Seconds an envelope may seem to come from the future."""
ROTATION_OVERLAP = LIFETIME + 2 * CLOCK_SKEW
"""Seconds after which no envelope made before a rotation of keys is alive any more."""

_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
_NONCE = bytes(12)
"""Fixed: every envelope has a key of its own, used once."""


class _Private(Protocol):
    def private_bytes_raw(self) -> bytes: ...


Key = TypeVar("Key", bound=_Private)


def seal(
    command_text: str,
    *,
    node: str,
    node_public_key: X25519PublicKey,
    signing_key: Ed25519PrivateKey,
    lifetime: float = LIFETIME,
    now: float | None = None,
) -> str:
    """Return the envelope that only ``node`` can open, for ``lifetime`` seconds from ``now``."""
    issued = time.time() if now is None else now
    ephemeral = X25519PrivateKey.generate()
    header = _pack(
        json.dumps(
            {
                "node": node,
                "issued": issued,
                "expires": issued + lifetime,
                "ephemeral": public_text(ephemeral.public_key()),
            },
            separators=(",", ":"),
        ).encode()
    )
    key = _derive(ephemeral.exchange(node_public_key), ephemeral.public_key(), node_public_key)
    ciphertext = ChaCha20Poly1305(key).encrypt(_NONCE, command_text.encode(), header.encode())
    signed = f"{PREFIX}.{header}.{_pack(ciphertext)}"
    return f"{signed}.{_pack(signing_key.sign(signed.encode()))}"


def open_with(
    envelope: str,
    *,
    node: str,
    node_keys: Sequence[X25519PrivateKey],
    platform_keys: Sequence[Ed25519PublicKey],
) -> str:
    """``open_`` with whichever keys fit, while keys are rotated. Raise as it does for the first."""
    refusal: BadCommand | None = None
    for platform_key, node_key in itertools.product(platform_keys, node_keys):
        try:
            return open_(envelope, node=node, node_key=node_key, platform_public_key=platform_key)
        except BadCommand as error:
            refusal = refusal or error
    raise refusal or BadCommand("Envelope rejected: this node has no keys")


def open_(
    envelope: str,
    *,
    node: str,
    node_key: X25519PrivateKey,
    platform_public_key: Ed25519PublicKey,
    now: float | None = None,
) -> str:
    """Return the command's text. Raise ``BadCommand`` unless the envelope is whole, ours and in time."""
    signed, _, signature = envelope.rpartition(".")
    try:
        platform_public_key.verify(_unpack(signature), signed.encode())
        prefix, header, ciphertext = signed.split(".")
        fields = json.loads(_unpack(header))
        ephemeral = parse_node_key(fields["ephemeral"])
        addressee, issued, expires = fields["node"], float(fields["issued"]), float(fields["expires"])
    except InvalidSignature as error:
        raise BadCommand("Envelope rejected: the signature is not the platform's") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadCommand(f"Envelope rejected: malformed ({error})") from error
    if prefix != PREFIX:
        raise BadCommand(f"Envelope rejected: version {prefix!r} is unknown to this node")
    if addressee != node:
        raise BadCommand(f"Envelope rejected: it is for node {addressee!r}, not {node!r}", node=node)
    _check_time(time.time() if now is None else now, issued, expires)
    try:
        key = _derive(node_key.exchange(ephemeral), ephemeral, node_key.public_key())
        return ChaCha20Poly1305(key).decrypt(_NONCE, _unpack(ciphertext), header.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise BadCommand(
            f"Envelope rejected: not sealed to this node's key; register node {node!r} again", node=node
        ) from error


def _check_time(now: float, issued: float, expires: float) -> None:
    # Written so that NaN is refused as well.
    if not issued - CLOCK_SKEW <= now:
        raise BadCommand(
            f"Envelope rejected: issued {issued - now:.0f} s in the future; compare the node's clock"
            " with the platform's"
        )
    if not now < expires:
        raise BadCommand(f"Envelope rejected: expired {now - expires:.0f} s ago")


def _derive(shared: bytes, ephemeral: X25519PublicKey, recipient: X25519PublicKey) -> bytes:
    salt = ephemeral.public_bytes(*_RAW) + recipient.public_bytes(*_RAW)
    return HKDF(SHA256(), length=32, salt=salt, info=b"slipway command").derive(shared)


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpack(text: str) -> bytes:
    # Strict: b64decode drops foreign characters unless told otherwise, and the spare bits of the last
    # character could differ; one envelope must have one spelling.
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _pack(data) != text:
        raise binascii.Error("not canonical base64url")
    return data


# --------------------------------------------------------------------------- keys


def public_text(key: X25519PublicKey | Ed25519PublicKey) -> str:
    """The key as 43 characters of base64url: for rows, JSON and key files."""
    return _pack(key.public_bytes(*_RAW))


def parse_node_key(text: str) -> X25519PublicKey:
    """Raise ``ValueError`` unless ``text`` is an X25519 public key as ``public_text`` writes it."""
    return X25519PublicKey.from_public_bytes(_unpack(text.strip()))


def parse_platform_key(text: str) -> Ed25519PublicKey:
    """Raise ``ValueError`` unless ``text`` is an Ed25519 public key as ``public_text`` writes it."""
    return Ed25519PublicKey.from_public_bytes(_unpack(text.strip()))


def ensure_node_key(path: Path) -> X25519PrivateKey:
    """Load the node's private key, made on first use (mode 0600). Safe to repeat and to race."""
    return _ensure(path, X25519PrivateKey.generate, X25519PrivateKey.from_private_bytes)


def ensure_signing_key(path: Path) -> Ed25519PrivateKey:
    """Load the platform's signing key, made on first use (mode 0600). Safe to repeat and to race."""
    return _ensure(path, Ed25519PrivateKey.generate, Ed25519PrivateKey.from_private_bytes)


def load_node_key(path: Path) -> X25519PrivateKey:
    """The current one. Raise ``NodeError`` when there is none or it is damaged."""
    return load_node_keys(path)[0]


def load_node_keys(path: Path, now: float | None = None) -> tuple[X25519PrivateKey, ...]:
    """The current one and those that still open what was sealed before a rotation. Raise ``NodeError``."""
    return _load(path, X25519PrivateKey.from_private_bytes, now)


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Raise ``NodeError`` when there is none or it is damaged."""
    return _load(path, Ed25519PrivateKey.from_private_bytes)[0]


def load_platform_key(path: Path) -> Ed25519PublicKey:
    """The current one. Raise ``NodeError`` when there is none or it is damaged."""
    return load_platform_keys(path)[0]


def load_platform_keys(path: Path, now: float | None = None) -> tuple[Ed25519PublicKey, ...]:
    """The current one and those whose commands are still obeyed after a rotation. Raise ``NodeError``."""
    try:
        return tuple(parse_platform_key(text) for text in valid_lines(_read(path), now))
    except ValueError as error:
        raise NodeError(f"{path} holds no platform key: {error}. Register the node again.") from error


def store_platform_key(path: Path, key: Ed25519PublicKey, *, overlap: float = 0.0) -> None:
    """Tell a node whose commands to obey; the key before for ``overlap`` seconds more. Repeatable."""
    _supersede(path, public_text(key), overlap)


def rotate_node_key(path: Path, *, overlap: float = ROTATION_OVERLAP) -> X25519PrivateKey:
    """Make a new private key; the one before still opens envelopes for ``overlap`` seconds."""
    load_node_keys(path)  # a damaged file is not written over
    key = X25519PrivateKey.generate()
    _supersede(path, _pack(key.private_bytes_raw()), overlap)
    return key


def _ensure(path: Path, generate: Callable[[], Key], parse: Callable[[bytes], Key]) -> Key:
    if not path.exists():
        write_secretly(path, _pack(generate().private_bytes_raw()), replace=False)
    return _load(path, parse)[0]


def _load(path: Path, parse: Callable[[bytes], Key], now: float | None = None) -> tuple[Key, ...]:
    try:
        return tuple(parse(_unpack(text)) for text in valid_lines(_read(path), now))
    except ValueError as error:
        raise NodeError(f"{path} holds no private key: {error}. Restore it from a backup.") from error


# --------------------------------------------------------------------------- files of keys


def valid_lines(text: str, now: float | None = None) -> tuple[str, ...]:
    """The keys of a file: the current one in the first line, then former ones whose time is not over.

    A former one's line ends with the time until which it holds, in seconds since the epoch. Raise
    ``ValueError`` when there is no current key.
    """
    current, *former = text.strip().splitlines() or [""]
    moment = time.time() if now is None else now
    held = [line.split() for line in former]
    return (current.strip(), *(key for key, until in held if moment < float(until)))


def _supersede(path: Path, key: str, overlap: float) -> None:
    """``key`` becomes the current one; former ones stay for as long as they were given."""
    now = time.time()
    current, *former = path.read_text(encoding="ascii").split("\n") if path.exists() else [""]
    kept = [line for line in former if line and now < float(line.split()[1])]
    if current == key:
        return
    if current and overlap > 0:
        kept.insert(0, f"{current} {now + overlap:.0f}")
    write_secretly(path, "\n".join([key, *kept]))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise NodeError(
            f"No key at {path}: this node is not registered. Run `manage.py register_node`.", path=str(path)
        ) from error
    except OSError as error:
        raise NodeError(f"Cannot read the key {path}: {error.strerror}", path=str(path)) from error


def write_secretly(path: Path, text: str, *, replace: bool = True) -> None:
    """Write aside (mode 0600), sync, then name it; with ``replace=False`` the first of two writers wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(partial, path)
        else:
            _link(partial, path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):  # another process was first; its key is as good
        os.link(source, target)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
