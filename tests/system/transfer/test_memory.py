"""What of an image is in memory while it moves: a few pieces, however large it is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.registries import DebianRegistry
from tests.system.transfer.rigs import a_name, pull, push, some_image
from workers.engine.images import ImageStore


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Bytes that were allocated at any moment meanwhile."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < count, f"{peak / (1 << 20):.1f} MiB"


@pytest.mark.parametrize("size", [24 << 20, 64 << 20])
def test_a_push_and_a_pull_hold_a_few_pieces_of_a_layer(
    store: ImageStore, node: ImageStore, registry: DebianRegistry, size: int
) -> None:
    image, name = some_image(store, (size,)), a_name(registry.host)
    with at_most(28 << 20):
        push(store, image, name)
    with at_most(8 << 20):
        pull(node, name)
