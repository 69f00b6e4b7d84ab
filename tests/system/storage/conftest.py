"""A node's places, emptied after each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places


@pytest.fixture
def places() -> Iterator[Places]:
    # Not below pytest's directory: a container's root must be able to walk to its rootfs.
    home = Path(tempfile.mkdtemp(prefix="slipway-storage-", dir="/var/tmp"))
    home.chmod(0o711)
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
