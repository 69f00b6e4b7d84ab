"""What steps have come to: the layers so far, and the key of all that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.engine.build.cache import Entry
from workers.messages import LayerFacts

FORMAT = 1
"""Part of every key: raise it when the same step comes to mean something else."""


@dataclass(frozen=True)
class Layer:
    """Of a base image (then it has a name of its own in the node's store), or made here."""

    facts: LayerFacts | None = None
    media_type: str = ""
    entry: Entry | None = None


@dataclass(frozen=True)
class State:
    """A filesystem. ``layers`` bottom first; ``times`` are those of the history entries so far."""

    key: str
    layers: tuple[Layer, ...] = ()
    times: tuple[str, ...] = ()


def digest_of(*parts: Any) -> str:
    """Of values in JSON's types."""
    text = json.dumps([FORMAT, *parts], separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def chain_key(layers: Sequence[LayerFacts]) -> str:
    """Of a base image: its layers, whatever it is called."""
    return digest_of("layers", [layer.diff_id for layer in layers])
