"""The cache of steps as an image in a registry: inside the result (inline), or as an image of its own.

Either is an image whose config says, in a member that nobody else reads, which key each of its layers stands
for. Taking a cache in is pulling the image and believing that member: what an image claims is used by whoever
names it as a cache, and by nobody else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.engine import images
from workers.engine.build.cache import Cache, Entry, Session
from workers.engine.images import Image, ImageStore
from workers.errors import BuildUnsupported
from workers.messages import LayerFacts
from workers.oci.config import parse_config
from workers.oci.descriptor import OCI_CONFIG, OCI_LAYER, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import compose

MEMBER = "slipway.build.cache.v1"
_BUILDKITS = "moby.buildkit.cache.v0"
INLINE_ARGUMENT = "BUILDKIT_INLINE_CACHE"
_KEY = re.compile("[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST = 64 << 10
_SKEW = 86400.0
"""Seconds by which another node's clock may be ahead."""


@dataclass(frozen=True)
class Exports:
    """Where the cache goes."""

    inline: bool = False
    references: tuple[str, ...] = ()
    all_stages: bool = False
    """``mode=max``; else only what the result is made of."""


def parse_exports(texts: Sequence[str], args: dict[str, str]) -> Exports:
    """Of ``cache_to``. Raise ``BuildUnsupported``."""
    made = Exports(inline=args.get(INLINE_ARGUMENT) == "1")
    for text in texts:
        fields = _fields(text)
        if fields["type"] == "inline":
            made = replace(made, inline=True)
        elif fields["type"] == "registry" and fields.get("ref"):
            references = (*made.references, fields["ref"])
            made = replace(made, references=references, all_stages=fields.get("mode") == "max")
        else:
            raise BuildUnsupported(f"cache-to {text!r}: inline, or type=registry,ref=NAME[,mode=max]")
    return made


def parse_imports(texts: Sequence[str]) -> tuple[str, ...]:
    """References of ``cache_from``. Raise ``BuildUnsupported``."""
    found = []
    for text in texts:
        fields = _fields(text)
        if fields["type"] != "registry" or not fields.get("ref"):
            raise BuildUnsupported(f"cache-from {text!r}: an image, or type=registry,ref=NAME")
        found.append(fields["ref"])
    return tuple(found)


def _fields(text: str) -> dict[str, str]:
    if "=" not in text:
        return {"type": "inline"} if text == "inline" else {"type": "registry", "ref": text}
    pairs = (part.partition("=") for part in text.split(","))
    return {"type": ""} | {name.strip(): value.strip() for name, _, value in pairs}


# --------------------------------------------------------------------------- out


def described(entries: Iterable[tuple[int, Entry]]) -> list[dict[str, Any]]:
    """For ``MEMBER``: the position of a layer in the image, and the entry it is of."""
    return [
        {
            "layer": position,
            "key": entry.key,
            "parent": entry.parent,
            "instruction": entry.instruction,
            "content": entry.content,
            "name": entry.name,
            "created": entry.created,
        }
        for position, entry in entries
    ]


def image_of(store: ImageStore, scope: str, entries: Sequence[Entry], platform: str) -> Image:
    """An image that holds nothing but these entries' layers, granted to ``scope``."""
    layers = [entry.layer for entry in entries if entry.layer is not None]
    os_, _, architecture = platform.partition("/")
    config = json.dumps(
        {
            "architecture": architecture.partition("/")[0],
            "os": os_,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            MEMBER: described(enumerate(entries)),
        },
        separators=(",", ":"),
    ).encode()
    image_id = Digest.of(config)
    descriptors = [Descriptor(OCI_LAYER, Digest.parse(layer.digest), layer.size) for layer in layers]
    manifest = compose(Descriptor(OCI_CONFIG, image_id, len(config)), descriptors)
    made = Image(
        str(image_id),
        str(Digest.of(manifest)),
        manifest.decode(),
        config.decode(),
        parse_config(config),
        tuple(layers),
    )
    images.grant(store, scope, made)
    return made


# --------------------------------------------------------------------------- in


@dataclass(frozen=True)
class Taken:
    steps: int
    """That were new."""
    odd: int
    """That make no sense and were left out."""
    lack: str
    """Why there are none; empty if the image says what its layers are."""

    def warning(self, reference: str) -> str:
        """Empty when there is none."""
        if self.lack:
            return f"No cache from {reference}: {self.lack}"
        return (
            f"{self.odd} steps of the cache of {reference} make no sense and were left out"
            if self.odd
            else ""
        )


def take_in(cache: Cache, session: Session, image: Image) -> Taken:
    """What the image says of its layers is in the project's cache."""
    taken = odd = 0
    now = time.time()
    found = json.loads(image.config_text).get(MEMBER)
    for said in found if isinstance(found, list) else ():
        entry = _entry(image, said, now)
        if entry is None:
            odd += 1
        elif cache.find(session, entry.key) is None:
            cache.adopt(session, entry)
            taken += 1
    return Taken(taken, odd, _lack(image))


def _lack(image: Image) -> str:
    config = json.loads(image.config_text)
    if isinstance(config.get(MEMBER), list):
        return ""
    if _BUILDKITS in config:
        return (
            "its cache is BuildKit's, keyed by BuildKit's own graph, and only BuildKit can read it; "
            "build it once with --cache-to here"
        )
    return "the image carries no cache: it was not built with --cache-to type=inline"


def _entry(image: Image, said: object, now: float) -> Entry | None:
    """As if it was made here: plain, whatever it was packed in. Anybody may have written it: None if it makes
    no sense."""
    if not isinstance(said, dict):
        return None
    texts = {name: said.get(name, "") for name in ("key", "parent", "instruction", "content", "name")}
    if not all(map(_is_text, texts.values())) or not _KEY.fullmatch(texts["key"]):
        return None
    position, created = said.get("layer"), said.get("created", now)
    if type(position) is not int or not 0 <= position < len(image.layers):
        return None
    if type(created) not in (int, float) or not 0 <= created <= now + _SKEW:
        return None
    found = image.layers[position]
    layer = LayerFacts(found.diff_id, found.diff_id, found.unpacked_size, found.unpacked_size)
    size = layer.unpacked_size
    return Entry(**texts, created=float(created), used=now, size=size, boot="", layer=layer)


def _is_text(value: object) -> bool:
    """That a database takes: no half of a surrogate pair."""
    return isinstance(value, str) and len(value) <= _LONGEST and not _SURROGATE.search(value)
