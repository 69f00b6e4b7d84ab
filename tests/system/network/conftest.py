"""The node of each test: a network namespace, so the machine's own networks are not touched."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.network.netns import enter, make_place
from tests.system.network.rig import INSTANCE, RESOLVER, Rig, make_world
from workers.engine.networks import Networks
from workers.engine.places import Places


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {RESOLVER}\n")
    places = Places(tmp_path / "data", tmp_path / "run")
    places.prepare()
    with ExitStack() as stack:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        stack.callback(os.close, home)
        node = make_place(stack)
        world = make_world(stack, node)
        enter(node.path)
        stack.callback(enter, home)
        networks = Networks(places, INSTANCE, egress_allow=["10.201.0.0/16"], sources=[resolv_conf])
        yield Rig(node, world, networks, places, stack, random.randint(90, 99))
