"""Templates in the console: one click, forms made of fields, secrets shown once, and who keeps them."""

from __future__ import annotations

import pytest
from django.test import Client

from slipway.accounts.actors import Actor
from slipway.accounts.models import Role
from slipway.containers.models import Container
from slipway.projects.models import Project
from slipway.templates.models import Template
from tests.factories import (
    make_actor,
    make_image,
    make_library,
    make_node,
    make_project,
    make_team,
    make_template,
)

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


@pytest.fixture
def browser(member: Actor) -> Client:
    client = Client()
    client.force_login(member.user)
    return client


def test_one_click_in_the_catalog_runs_it_and_shows_the_secret_once(
    browser: Client, project: Project, redis: Template
) -> None:
    page = browser.get("/catalog/?tab=templates").content.decode()
    assert 'formaction="/catalog/templates/cache/"' in page
    answer = browser.post("/catalog/templates/cache/", {"project": "acme/shop", "direct": "1"})
    container = Container.objects.get()
    secret = container.spec["env"][0].partition("=")[2]
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert secret not in browser.get(f"/containers/{container.id}/").content.decode()


def test_a_form_is_made_of_the_fields_and_says_what_is_wrong(browser: Client, project: Project) -> None:
    make_image(project, "busybox:latest")
    fields = [
        {"name": "SIZE", "label": "Size", "kind": "number", "required": True, "help": "In MiB."},
        {"name": "MODE", "label": "Mode", "kind": "choice", "choices": ["fast", "safe"], "default": "safe"},
        {"name": "LOUD", "label": "Loud", "kind": "switch"},
    ]
    template = make_template("tuned", fields=fields, volumes=[{"path": "/data", "description": "Its files"}])
    assert not template.runs_at_once
    page = browser.get("/catalog/templates/tuned/").content.decode()
    assert "In MiB." in page
    assert "does not publish ports or mount volumes yet" in page
    values = {"project": "acme/shop", "v-SIZE": "big", "v-MODE": "fast"}
    refused = browser.post("/catalog/templates/tuned/", values)
    assert (refused.status_code, b"whole number" in refused.content) == (422, True)
    done = browser.post(
        "/catalog/templates/tuned/", values | {"v-SIZE": "5", "v-LOUD": "on", "name": "tuned"}
    )
    container = Container.objects.get(name="tuned")
    assert done.status_code == 302
    assert list(container.spec["env"]) == ["SIZE=5", "MODE=fast", "LOUD=true"]


def test_an_administrator_makes_and_changes_one_in_the_console(member: Actor, browser: Client) -> None:
    member.user.is_staff = True
    member.user.save()
    blank = {"kind": "text", "alphabet": "letters and digits", "length": "24"}
    form = {"slug": "echo", "name": "Echo", "icon": "box", "image": "busybox", "command": "echo 'a b' c"}
    form |= {"ports": "80/tcp HTTP\n53/udp", "volumes": "/data Files", "memory": "64 MiB"}
    form |= {"field-TOTAL_FORMS": "2", "field-INITIAL_FORMS": "0"}
    form |= {f"field-{n}-{name}": value for n in range(2) for name, value in blank.items()}
    form |= {"field-0-name": "WORD", "field-0-label": "Word", "field-0-required": "on"}
    assert browser.post("/catalog/templates/new", form).status_code == 302
    made = Template.objects.get(slug="echo")
    assert made.command == ["echo", "a b", "c"]
    assert [port["container"] for port in made.ports] == [80, 53]
    assert made.ports[0]["description"] == "HTTP"
    assert [field["name"] for field in made.fields] == ["WORD"]
    page = browser.get("/catalog/templates/echo/edit").content.decode()
    assert "echo &#x27;a b&#x27; c" in page
    assert (
        browser.post("/catalog/templates/echo/edit", form | {"name": "Echo!", "slug": "taken"}).status_code
        == 302
    )
    assert Template.objects.get(slug="taken").name == "Echo!"
    assert browser.post("/catalog/templates/taken/remove").status_code == 302
    assert not Template.objects.filter(slug="taken").exists()
