"""Our registry against the specification, without a network; tests/e2e has the same over one."""

from __future__ import annotations

import pytest

from slipway.projects.models import Project
from tests.distribution.discovery import Discovery
from tests.distribution.management import Management
from tests.distribution.pull import Pull
from tests.distribution.push_blobs import PushBlobs, digest
from tests.distribution.push_manifests import PushManifests, stocked

__all__ = ["digest", "stocked"]  # fixtures of theirs


@pytest.fixture
def sibling(project: Project) -> str:
    return f"{project.path}/other"


class TestPull(Pull):
    pass


class TestPushBlobs(PushBlobs):
    pass


class TestPushManifests(PushManifests):
    pass


class TestDiscovery(Discovery):
    pass


class TestManagement(Management):
    pass
