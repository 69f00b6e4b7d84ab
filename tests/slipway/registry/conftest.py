"""A registry in this process, and a client that speaks ASGI with it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from slipway.accounts.services import issue_token
from slipway.blobs.directory import DirectoryStore
from slipway.projects.models import Project
from slipway.registry.application import Registry
from slipway.registry.desk import Desk
from tests.factories import make_actor, make_project
from tests.registry_client import RegistryClient, in_this_thread, nothing_else


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "blobs")


@pytest.fixture
def pulls() -> list[UUID]:
    """Repositories that were pulled from."""
    return []


@pytest.fixture
def registry(db: None, store: DirectoryStore, pulls: list[UUID]) -> Registry:
    return Registry(nothing_else, Desk(in_this_thread, store, pulls.append))


@pytest.fixture
def project(db: None) -> Project:
    return make_project(slug="shop")


@pytest.fixture
def anonymous(registry: Registry) -> RegistryClient:
    return RegistryClient(registry)


@pytest.fixture
def client(registry: Registry, project: Project) -> RegistryClient:
    """A developer of the project, with a token that may write."""
    actor = make_actor(project.team, username="dora")
    return RegistryClient(registry, "dora", issue_token(actor, "laptop", scopes=["read", "write"])[1])


@pytest.fixture
def stranger(registry: Registry, project: Project) -> RegistryClient:
    """Owns another team."""
    actor = make_actor(make_project(slug="mine").team, username="sten")
    return RegistryClient(registry, "sten", issue_token(actor, "laptop", scopes=["admin"])[1])


@pytest.fixture
def path(project: Project) -> str:
    """Of a repository that does not exist yet."""
    return f"{project.path}/web"
