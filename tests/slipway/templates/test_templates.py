"""Templates: kept by administrators, run by members; secrets are told once."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from slipway.accounts.actors import OPERATOR, Actor
from slipway.accounts.errors import InvalidName, NameTaken, NotAllowed
from slipway.accounts.models import Role
from slipway.accounts.services import issue_token
from slipway.audit.models import Entry
from slipway.containers.models import Container
from slipway.projects.models import Project
from slipway.templates import services
from slipway.templates.errors import InvalidTemplate
from slipway.templates.models import Template
from slipway.templates.queries import get_template, list_templates
from slipway.templates.seeds import SEEDS
from slipway.templates.services import Draft, create_template, run_template
from tests.factories import (
    make_actor,
    make_image,
    make_library,
    make_node,
    make_project,
    make_team,
    make_template,
)
from workers.errors import InvalidReference, NoSuchImage

pytestmark = pytest.mark.django_db
PASSWORD = {"name": "REDIS_PASSWORD", "label": "Password", "kind": "secret", "length": 24}


@pytest.fixture
def project() -> Project:
    return make_project(make_team("acme"), slug="shop", node=make_node())


@pytest.fixture
def member(project: Project) -> Actor:
    return make_actor(project.team, Role.DEVELOPER, username="dev")


@pytest.fixture
def redis(project: Project) -> Template:
    make_image(make_library(node=project.node, index=77), "redis:latest")
    return make_template("cache", image="redis:latest", command=None, fields=[PASSWORD])


# --------------------------------------------------------------------------- seeds


def test_an_installation_begins_with_a_template_for_each_recipe() -> None:
    # A test that empties the database takes what migrations put there along.
    import_module("slipway.templates.migrations.0002_seeds").plant(apps, None)
    assert {seed["slug"] for seed in SEEDS} <= set(Template.objects.values_list("slug", flat=True))
    for seed in SEEDS:
        frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in seed.items()}
        services._check(Draft(**frozen))
        assert get_template(OPERATOR, seed["slug"]).runs_at_once, "in one click"


# --------------------------------------------------------------------------- running


def test_a_secret_is_made_told_once_and_kept_in_the_environment_only(
    project: Project, member: Actor, redis: Template
) -> None:
    launched = run_template(member, project, redis, {}, name="cache")
    secret = launched.generated["REDIS_PASSWORD"]
    assert len(secret) == 24
    row = Container.objects.get(pk=launched.container.id)
    assert row.spec["env"] == (f"REDIS_PASSWORD={secret}",) or row.spec["env"] == [f"REDIS_PASSWORD={secret}"]
    assert row.spec["labels"][services.LABEL] == "cache"
    assert secret not in json.dumps(list(Entry.objects.values("before", "after", "detail")), default=str)
    client = Client(headers={"Authorization": f"Bearer {issue_token(member, 't', scopes=['read'])[1]}"})
    shown = client.get(f"/api/v1/projects/acme/shop/containers/{row.id}").json()
    assert shown["config"]["env"] == ["REDIS_PASSWORD=********"]


def test_an_image_that_is_not_there_is_said_to_be_missing(project: Project, member: Actor) -> None:
    with pytest.raises(NoSuchImage):
        run_template(member, project, make_template("gone", image="nowhere:1"), {})
    assert not Container.objects.exists()


def test_who_may_not_run_things_runs_no_template(project: Project, redis: Template) -> None:
    viewer = make_actor(project.team, Role.VIEWER, username="viv")
    with pytest.raises(NotAllowed):
        run_template(viewer, project, redis, {})


# --------------------------------------------------------------------------- keeping


def test_administrators_keep_them_and_the_log_tells(member: Actor) -> None:
    draft = Draft("tool", "Tool", "busybox", command=("sh",), fields=(PASSWORD,))
    for refused in (
        lambda: create_template(member, draft),
        lambda: services.remove_template(member, make_template("x1")),
    ):
        with pytest.raises(NotAllowed):
            refused()
    made = create_template(OPERATOR, draft)
    services.change_template(OPERATOR, made, replace(draft, image="debian"))
    services.remove_template(OPERATOR, made)
    told = Entry.objects.filter(object_id=made.hex).order_by("seq")
    assert [entry.action for entry in told] == ["template.create", "template.change", "template.remove"]
    assert (told[1].before["image"], told[1].after["image"]) == ("busybox", "debian")


def test_a_token_without_the_scope_admin_keeps_none() -> None:
    boss = make_actor(username="boss")
    boss.user.is_staff = True
    boss.user.save()
    token, _ = issue_token(boss, "laptop", scopes=["write"])
    with pytest.raises(NotAllowed):
        create_template(Actor(user=boss.user, token=token), Draft("tool", "Tool", "busybox"))
    create_template(Actor(user=boss.user), Draft("tool", "Tool", "busybox"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"slug": "A"}, InvalidName),
        ({"slug": "a--b"}, InvalidName),
        ({"name": " "}, InvalidTemplate),
        ({"icon": "skull"}, InvalidTemplate),
        ({"image": "A B"}, InvalidReference),
        ({"memory_bytes": 1}, InvalidTemplate),
        ({"ports": ({"container": 0, "protocol": "tcp"},)}, InvalidTemplate),
        ({"ports": ({"container": 80, "protocol": "sctp"},)}, InvalidTemplate),
        ({"volumes": ({"path": "data"},)}, InvalidTemplate),
    ],
)
def test_a_template_that_cannot_work_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        create_template(OPERATOR, replace(Draft("tool", "Tool", "busybox"), **change))
    assert not Template.objects.filter(name="Tool").exists()


def test_two_templates_do_not_share_a_short_name() -> None:
    make_template("taken")
    with pytest.raises(NameTaken):
        create_template(OPERATOR, Draft("taken", "Taken", "busybox"))


def test_words_are_looked_for_in_everything_people_read() -> None:
    Template.objects.all().delete()
    make_template("a1", name="Queue", category="Tools", description="Passes messages on")
    make_template("b1", name="Other", image="rabbit:3")
    assert [each.slug for each in list_templates(OPERATOR, query="messages tools")] == ["a1"]
    assert [each.slug for each in list_templates(OPERATOR, query="RABBIT")] == ["b1"]
    assert list(list_templates(OPERATOR, query="messages rabbit")) == []
