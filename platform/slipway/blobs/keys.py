"""Keys of blobs: ``<algorithm>/<first two digits>/<digits>.<word>``."""

from __future__ import annotations

import re
import secrets

from workers.errors import NoSuchBlob
from workers.oci.digest import Digest

_KEY = re.compile(r"(?:sha256|sha512)/[0-9a-f]{2}/[0-9a-f]{64}(?:[0-9a-f]{64})?\.[0-9a-f]{16}")


def new_key(digest: Digest) -> str:
    """One that no other blob has, not even of the same digest."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.{secrets.token_hex(8)}"


def require_key(key: str) -> str:
    """``key`` itself. Raise ``NoSuchBlob`` for what was never one: it would be used as a path."""
    if not _KEY.fullmatch(key):
        raise NoSuchBlob(f"{key[:80]!r} is no key of a blob.")
    return key


def key_for(digest: Digest, given: str | None) -> str:
    """``given``, where it is one of a blob of that digest; a new one, where none is given."""
    if given is None:
        return new_key(digest)
    if not require_key(given).startswith(f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}."):
        raise ValueError(f"{given!r} is no key of {digest}")
    return given
