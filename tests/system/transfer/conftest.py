"""Two nodes' places and registries on loopback."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries import DebianRegistry, debian_registry
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places


def _store() -> Iterator[ImageStore]:
    home = Path(tempfile.mkdtemp(prefix="slipway-transfer-", dir="/dev/shm"))
    home.chmod(0o711)
    places = Places(home / "data", home / "run")
    places.prepare()
    yield ImageStore(places, LinuxKernel())
    shutil.rmtree(home)


@pytest.fixture
def store() -> Iterator[ImageStore]:
    """Where images come from."""
    yield from _store()


@pytest.fixture
def node() -> Iterator[ImageStore]:
    """Where they go: it has nothing yet."""
    yield from _store()


@pytest.fixture(scope="session")
def registry() -> Iterator[DebianRegistry]:
    with debian_registry() as registry:
        yield registry


@pytest.fixture(scope="session")
def closed_registry() -> Iterator[DebianRegistry]:
    """It wants a name and a password."""
    with debian_registry(with_password=True) as registry:
        yield registry
