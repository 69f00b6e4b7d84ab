"""The cache of steps as an image in a registry: inside the result (inline), or as an image of its own.

Either is an image whose config says, in a member that nobody else reads, which key each of its layers stands
for. Taking a cache in is pulling the image and believing that member: what an image claims is used by whoever
names it as a cache, and by nobody else.
"""

from __future__ import annotations

import json
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


def take_in(cache: Cache, session: Session, image: Image) -> int:
    """What the image says of its layers is in the project's cache; how many entries were new."""
    taken = 0
    now = time.time()
    for said in _said(image):
        layer = _layer(image, said)
        if layer is None or cache.find(session, str(said["key"])) is not None:
            continue
        texts = {
            name: str(said.get(name, "")) for name in ("key", "parent", "instruction", "content", "name")
        }
        created = float(said.get("created") or now)
        entry = Entry(**texts, created=created, used=now, size=layer.unpacked_size, boot="", layer=layer)
        cache.adopt(session, entry)
        taken += 1
    return taken


def lack(image: Image) -> str:
    """Why nothing is taken in of the image; empty if it says what its layers are."""
    config = json.loads(image.config_text)
    if isinstance(config.get(MEMBER), list):
        return ""
    if _BUILDKITS in config:
        return (
            "its cache is BuildKit's, keyed by BuildKit's own graph, and only BuildKit can read it; "
            "build it once with --cache-to here"
        )
    return "the image carries no cache: it was not built with --cache-to type=inline"


def _said(image: Image) -> list[dict[str, Any]]:
    found = json.loads(image.config_text).get(MEMBER)
    return (
        [each for each in found if isinstance(each, dict) and "key" in each]
        if isinstance(found, list)
        else []
    )


def _layer(image: Image, said: dict[str, Any]) -> LayerFacts | None:
    """As if it was made here: plain, whatever it was packed in."""
    position = said.get("layer")
    if not isinstance(position, int) or not 0 <= position < len(image.layers):
        return None
    found = image.layers[position]
    return LayerFacts(found.diff_id, found.diff_id, found.unpacked_size, found.unpacked_size)
