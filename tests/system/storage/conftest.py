"""A node's places, emptied after each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.environment import scratch
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places


@pytest.fixture
def places() -> Iterator[Places]:
    # Not below pytest's directory: a container's root must be able to walk to its rootfs.
    home = scratch()
    places = Places(home / "data", home / "run")
    places.prepare()
    yield places
    kernel = LinuxKernel()
    for mountpoint in (*places.bundles.glob("*/rootfs"), *places.namespaces.iterdir()):
        kernel.unmount(mountpoint)
    shutil.rmtree(home)


@pytest.fixture
def store(places: Places) -> ImageStore:
    return ImageStore(places, LinuxKernel())
