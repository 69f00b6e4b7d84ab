"""Layers move at the same time: each of three waits until the others have been asked for as well."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.registries import Asked, DebianRegistry, Fault, door
from tests.system.transfer.rigs import a_name, files, pull, push, some_image
from workers.engine.images import ImageStore

LAYERS = (200_000, 100_000, 50_000)
PATIENCE = 20.0


@dataclass
class Gate:
    """Lets nobody who asks by ``method`` for ``part`` through until as many as there are layers ask."""

    method: str
    part: str
    barrier: threading.Barrier = field(
        default_factory=lambda: threading.Barrier(len(LAYERS), timeout=PATIENCE)
    )
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, asked: Asked) -> Fault | None:
        if asked.method == self.method and self.part in asked.path and not self.opened.is_set():
            self.barrier.wait()
            self.opened.set()
        return None


def test_layers_are_pushed_side_by_side(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image = some_image(store, LAYERS)
    gate = Gate("POST", "/blobs/uploads/")
    with door(registry.host, plan=gate) as front:
        name = a_name(front.host)
        assert push(store, image, name).uploaded == len(LAYERS)
    assert gate.opened.is_set()
    assert files(node, pull(node, name.replace(front.host, registry.host)).image) == files(store, image)


def test_layers_are_pulled_side_by_side(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image = some_image(store, LAYERS)
    name = a_name(registry.host)
    push(store, image, name)
    config = image.image_id

    def plan(asked: Asked) -> Fault | None:
        return None if config in asked.path else gate(asked)

    gate = Gate("GET", "/blobs/sha256:")
    with door(registry.host, plan=plan) as front:
        pulled = pull(node, name.replace(registry.host, front.host))
    assert gate.opened.is_set()
    assert files(node, pulled.image) == files(store, image)
