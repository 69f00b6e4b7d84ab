"""A member with a project, somebody else, and browsers for them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.test import Client

from slipway.accounts.models import Role, User
from slipway.catalog.models import Image
from slipway.containers.models import Container
from slipway.jobs.models import Job
from slipway.projects.models import Project
from tests import factories


@pytest.fixture(autouse=True)
def plain_static_files(settings: pytest.FixtureRequest) -> None:
    """Names without hashes: nothing was collected for a unit test."""
    storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}


@dataclass(frozen=True)
class World:
    project: Project
    image: Image
    container: Container
    job: Job
    member: User
    viewer: User
    stranger: User
    administrator: User


@pytest.fixture
def world(db: None) -> World:
    team = factories.make_team("acme")
    project = factories.make_project(team, slug="shop", name="Shop")
    image = factories.make_image(project, layers=("base", "app"))
    container = factories.make_container(project, name="brisk_quay", image=image)
    member = factories.make_actor(team, Role.OWNER, username="mia").user
    viewer = factories.make_actor(team, Role.VIEWER, username="vic").user
    stranger = factories.make_actor(factories.make_team("other"), username="sam").user
    administrator = factories.make_user("root", is_staff=True)
    assert member
    assert viewer
    assert stranger
    return World(
        project, image, container, factories.make_job(project), member, viewer, stranger, administrator
    )


def browser_of(user: User | None) -> Client:
    """A client that proves its forms as a browser does."""
    client = Client()
    if user is not None:
        client.force_login(user)
    return client
