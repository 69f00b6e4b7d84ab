"""A registry whose disk is full: the push is told so, nothing of it is left, and space is all it takes."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.accounts.services import issue_token
from slipway.blobs.directory import DirectoryStore
from slipway.projects import ledger
from slipway.projects.models import Project
from slipway.registry.application import Registry
from slipway.registry.desk import Desk
from slipway.repositories.models import Upload
from tests.factories import make_actor, make_project
from tests.registry_client import RegistryClient, digest_of, in_this_thread, nothing_else

DISK = 4 << 20
LARGE, SMALL = (random.Random(5).randbytes(size) for size in (6 << 20, 1 << 20))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    """On a disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], check=True)
    try:
        yield DirectoryStore(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def project(db: None) -> Project:
    return make_project(slug="shop")


@pytest.fixture
def client(store: DirectoryStore, project: Project) -> RegistryClient:
    registry = Registry(nothing_else, Desk(in_this_thread, store, lambda _: None))
    return RegistryClient(registry, "d", issue_token(make_actor(project.team), "t", scopes=["write"])[1])


@pytest.mark.parametrize("way", ["post", "patch", "put", "streamed"])
def test_a_push_that_does_not_fit_says_so_and_leaves_nothing(
    client: RegistryClient, store: DirectoryStore, project: Project, way: str
) -> None:
    uploads = f"/v2/{project.path}/web/blobs/uploads/"
    digest = digest_of(LARGE)
    if way == "post":
        reply = client.call("POST", f"{uploads}?digest={digest}", LARGE)
    else:
        location = client.call("POST", uploads).headers["location"]
        if way == "put":
            reply = client.call("PUT", f"{location}?digest={digest}", LARGE)
        else:
            reply = client.call("PATCH", location, LARGE if way == "patch" else [LARGE[: 5 << 20], b"more"])
    assert (reply.status, "No space left" in reply.json["errors"][0]["message"]) == (507, True)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
    assert (Upload.objects.count(), ledger.used(project.pk)) == (0, {})
    client.push_blob(f"{project.path}/web", SMALL)
    assert client.call("GET", f"/v2/{project.path}/web/blobs/{digest_of(SMALL)}").body == SMALL
