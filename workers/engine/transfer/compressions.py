"""What layers compress to: done at the first push, noted with the layer, asked for ever after."""

from __future__ import annotations

import contextlib
import json
import secrets
import zlib
from collections.abc import Iterator
from typing import Protocol, cast

import zstandard
from isal import isal_zlib

from workers.engine.places import Places
from workers.errors import InvalidDigest
from workers.oci.descriptor import OCI_LAYER, Descriptor
from workers.oci.digest import Digest

NAMES = ("gzip", "zstd")
_BLOBS = "blobs.json"
_WITH_GZIP_HEADER = 31
_GZIP_LEVEL = 1
"""A quarter of the time of zlib's, for a tenth more bytes."""
_ZSTD_LEVEL = 3


def noted(places: Places, diff_id: str) -> dict[str, Descriptor]:
    """By compression: the blob that the layer became."""
    try:
        body = json.loads((places.layer_notes(diff_id) / _BLOBS).read_bytes())
        return {
            how: Descriptor(media_type(how), Digest.parse(blob["digest"]), int(blob["size"]))
            for how, blob in body.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidDigest):
        return {}  # torn by a power cut, or never written


def note(places: Places, diff_id: str, compression: str, blob: Descriptor) -> None:
    """Not for ever: what is lost is found out again."""
    path = places.layer_notes(diff_id) / _BLOBS
    known = {**noted(places, diff_id), compression: blob}
    body = {how: {"digest": str(each.digest), "size": each.size} for how, each in known.items()}
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        aside.write_text(json.dumps(body))
        aside.replace(path)


def media_type(compression: str) -> str:
    return f"{OCI_LAYER}+{compression}"


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def compressed(pieces: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The same pieces always give the same bytes."""
    compressor = _compressor(compression)
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _compressor(compression: str) -> _Compressor:
    if compression == "zstd":
        return cast(_Compressor, zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj())
    return cast(_Compressor, isal_zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _WITH_GZIP_HEADER))
