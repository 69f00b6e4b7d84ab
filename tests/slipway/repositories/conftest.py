"""A blob store, and what pushes leave in it without the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.blobs.directory import DirectoryStore
from slipway.projects.models import Project
from tests.factories import make_project
from tests.slipway.repositories.pushing import Pusher


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "blobs")


@pytest.fixture
def project(db: None) -> Project:
    return make_project(slug="shop")


@pytest.fixture
def pusher(project: Project, store: DirectoryStore) -> Pusher:
    return Pusher(project, store)
