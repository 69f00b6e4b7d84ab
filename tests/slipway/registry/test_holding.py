"""A push that was told that a blob is here finds it here when its manifest comes, however it signed in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from slipway.accounts.models import Role
from slipway.accounts.services import issue_token
from slipway.blobs.directory import DirectoryStore
from slipway.projects.models import Project
from slipway.registry.application import Registry
from slipway.repositories import collection
from slipway.repositories.models import BlobLink
from tests.factories import make_actor
from tests.registry_client import RegistryClient, digest_of

DATA = b"layer"


@pytest.fixture
def forgotten(client: RegistryClient, path: str) -> str:
    """A blob whose push brought no manifest for an hour; its address."""
    client.push_blob(path, DATA)
    BlobLink.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    return f"/v2/{path}/blobs/{digest_of(DATA)}"


@pytest.mark.parametrize("how", ["basic", "token", "bearer"])
def test_a_push_that_asks_for_a_blob_holds_it(
    client: RegistryClient, path: str, forgotten: str, store: DirectoryStore, how: str
) -> None:
    asking = {
        "basic": client,
        "token": RegistryClient(client.registry, bearer=client.password),
        "bearer": client.sign_in(f"repository:{path}:pull,push"),
    }[how]
    assert asking.call("HEAD", forgotten).status == 200
    collection.release_links(timezone.now())
    collection.sweep_blobs(store)
    assert client.call("GET", forgotten).body == DATA


def test_who_only_pulls_holds_nothing(
    client: RegistryClient,
    registry: Registry,
    project: Project,
    path: str,
    forgotten: str,
    store: DirectoryStore,
) -> None:
    vera = make_actor(project.team, Role.VIEWER, username="vera")
    viewer = RegistryClient(registry, "vera", issue_token(vera, "t", scopes=["read"])[1])
    for caller in (viewer, client.sign_in(f"repository:{path}:pull")):
        assert caller.call("HEAD", forgotten).status == 200
    assert client.call("GET", forgotten).status == 200
    collection.release_links(timezone.now())
    assert client.call("HEAD", forgotten).status == 404
