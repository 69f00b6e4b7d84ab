"""A node and our own registry, with a network between them that loses, cuts and refuses."""

from __future__ import annotations

import random
import secrets
import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.registries import Asked, Fault, Plan, door
from tests.stacks import RunningStack
from tests.system.transfer.conftest import node, store
from tests.system.transfer.rigs import LOCAL, files, pull, push, some_image
from workers.engine.images import ImageStore
from workers.engine.transfer import uploads

__all__ = ["node", "store"]  # fixtures of theirs

FAULTS = (
    None,
    Fault(cut_answer=10_000),
    Fault(cut_request=100_000),
    Fault(drop_answer=True),
    Fault(503),
    Fault(429, {"Retry-After": "0"}),
)


def chance(seed: int) -> Plan:
    """Something happens to the first of equal requests to the registry, mostly."""
    dice, lock = random.Random(seed), threading.Lock()
    seen: set[tuple[str, str]] = set()

    def plan(asked: Asked) -> Fault | None:
        with lock:
            key = (asked.method, asked.path)
            if key in seen or not asked.path.startswith("/v2/"):
                return None
            seen.add(key)
            return dice.choice(FAULTS)

    return plan


@pytest.mark.parametrize("seed", range(6))
def test_an_image_goes_there_and_comes_back_whole(
    stack: RunningStack, store: ImageStore, node: ImageStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(uploads.blocks_of, "__defaults__", (256 << 10,))  # a few megabytes are many blocks
    image = some_image(store, (3_000_000, 2_000_000, 1000))
    access = replace(LOCAL, username=stack.admin, password=stack.token)
    with door(f"127.0.0.1:{urlsplit(stack.url).port}", plan=chance(seed)) as front:
        name = f"{front.host}/{stack.project}/flaky-{secrets.token_hex(4)}:1"
        assert push(store, image, name, access=access).uploaded == 3
        assert files(node, pull(node, name, access=access).image) == files(store, image)
    assert {asked.method for asked in front.asked} >= {"HEAD", "GET", "POST", "PATCH", "PUT"}
