"""A builder on the engine of the session; each test begins with an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.build.rigs import BuildRig
from tests.system.rigs import Rig, open_rig
from workers.engine.build import mounts
from workers.engine.build.builder import Builder
from workers.errors import RuntimeFailed


@pytest.fixture(scope="session")
def builder_rig() -> Iterator[Rig]:
    try:
        rig = open_rig("crun")
    except RuntimeFailed:  # it refuses some hybrid layouts; runc works on every node
        rig = open_rig("runc")
    yield rig
    rig.close()


@pytest.fixture
def builds(builder_rig: Rig, tmp_path: Path) -> Iterator[BuildRig]:
    builder = Builder.open(builder_rig.engine)
    made = BuildRig(builder_rig, builder, tmp_path)
    yield made
    assert made.traces() == []
    made.builder.cache.sweep(max_bytes=0, max_age=0)
    made.builder.cache.close()
    mounts.sweep(builder_rig.places, max_bytes=0, max_age=0)
