"""Forms: sane defaults, inline errors that keep what was typed, and what they ask of the services."""

from __future__ import annotations

import pytest

from slipway.accounts.models import Token
from slipway.accounts.services import authenticate_token
from slipway.containers.models import Container, State
from slipway.projects.models import Project
from tests import factories
from tests.roads import RecordingRoad
from tests.slipway.console.conftest import World, browser_of
from workers.messages import RunContainer

RUN = "/projects/acme/shop/run"
TYPED = {
    "image": "busybox:latest",
    "command": "sh -c 'for i in $(seq 1 100000); do echo line $i; done; exit 3'",
    "env": "A=1\r\nB=two words\r\n",
    "name": "counter",
    "memory": "256m",
    "cpu": "0.5",
    "pids": "64",
    "start": "on",
}


def test_running_an_image_asks_for_exactly_what_was_typed(world: World, road: RecordingRoad) -> None:
    answer = browser_of(world.member).post(RUN, TYPED)

    made = Container.objects.get(name="counter")
    assert answer.headers["Location"] == f"/containers/{made.id}/"
    assert made.spec["command"] == ["sh", "-c", "for i in $(seq 1 100000); do echo line $i; done; exit 3"]
    assert made.spec["env"] == ["A=1", "B=two words"]
    assert made.spec["limits"] == {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 64}
    assert made.created_by_name == "mia"
    [command] = road.take()
    assert isinstance(command, RunContainer)
    assert command.container == made.id


def test_the_form_as_it_comes_is_ready_to_run(world: World) -> None:
    page = browser_of(world.member).get(RUN)
    form = page.context["form"]

    answer = browser_of(world.member).post(
        RUN, {name: form[name].value() or "" for name in form.fields if name != "read_only"}
    )

    assert answer.status_code == 302
    made = Container.objects.exclude(pk=world.container.pk).get()
    assert made.image == world.image
    assert made.spec["limits"] == {"memory_bytes": 512 << 20, "cpu_millis": 1000, "pids": 512}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image", "no-such-image", "There is no image"),
        ("image", "Not A Name", ""),
        ("image", "", "This field is required"),
        ("command", "sh -c 'never closed", "A quote or backslash is not closed"),
        ("env", "NOT A VARIABLE", "is not of the form NAME=value"),
        ("name", "../evil", "letters, digits"),
        ("name", "brisk_quay", "has a container"),
        ("memory", "a lot", "is no size"),
        ("memory", "900 GiB", "More than the 4 GiB this project allows"),
        ("cpu", "64", "More than the 4 CPU this project allows"),
        ("cpu", "many", "is no amount of CPU"),
        ("pids", "0", "greater than or equal to 1"),
        ("working_dir", "srv", "an absolute path"),
        ("user", "no such user", "neither a name nor a number"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    world: World, field: str, value: str, said: str
) -> None:
    answer = browser_of(world.member).post(RUN, TYPED | {field: value})
    form = answer.context["form"]

    assert answer.status_code == 422
    assert list(form.errors) == [field]
    assert said in " ".join(form.errors[field])
    assert form["start"].value() is True
    for name in TYPED.keys() - {field, "start"}:
        assert form[name].value() == TYPED[name]
    page = answer.content.decode()
    assert f'id="id_{field}_error"' in page
    assert 'aria-invalid="true"' in page
    assert Container.objects.count() == 1


def test_a_member_without_a_team_makes_team_and_project_in_one_go(world: World) -> None:
    newcomer = factories.make_user("nia")
    answer = browser_of(newcomer).post(
        "/projects/new", {"new_team": "northwind", "slug": "intranet", "name": "Intranet"}
    )

    assert answer.headers["Location"] == "/projects/northwind/intranet/"
    assert browser_of(newcomer).get("/projects/northwind/intranet/").status_code == 200


def test_a_taken_project_name_is_said_at_the_name(world: World) -> None:
    answer = browser_of(world.member).post("/projects/new", {"team": "acme", "slug": "shop", "name": ""})

    assert answer.status_code == 422
    assert "has a project" in str(answer.context["form"].errors["slug"])
    assert Project.objects.filter(team__slug="acme").count() == 1


def test_nobody_makes_projects_in_a_team_they_only_look_at(world: World) -> None:
    answer = browser_of(world.viewer).post("/projects/new", {"team": "acme", "slug": "mine", "name": ""})

    assert answer.status_code == 422
    assert not Project.objects.filter(slug="mine").exists()


def test_a_token_is_shown_once_and_opens_what_it_says(world: World) -> None:
    browser = browser_of(world.member)
    answer = browser.post(
        "/tokens/", {"name": "pipeline", "scope": "write", "project": world.project.hex, "days": "30"}
    )
    secret = answer.context["secret"]

    assert answer.status_code == 201
    assert secret in answer.content.decode()
    assert answer.headers["Cache-Control"] == "no-store"
    assert authenticate_token(secret).token == Token.objects.get(name="pipeline")
    assert Token.objects.get().project == world.project
    assert secret not in browser.get("/tokens/").content.decode()


def test_a_revoked_token_is_listed_as_such(world: World) -> None:
    browser = browser_of(world.member)
    browser.post("/tokens/", {"name": "laptop", "scope": "read", "project": "", "days": ""})
    token = Token.objects.get()

    assert browser_of(world.stranger).post(f"/tokens/{token.hex}/revoke").status_code == 404
    browser.post(f"/tokens/{token.hex}/revoke")

    token.refresh_from_db()
    assert token.revoked_at is not None
    assert browser.get("/tokens/").context["revoked"] == [token]


def test_actions_raise_a_wish_and_answer_with_a_toast(world: World, road: RecordingRoad) -> None:
    browser = browser_of(world.member)
    url = f"/containers/{world.container.id}"
    answer = browser.post(f"{url}/start", headers={"HX-Request": "true"})

    assert answer.status_code == 204
    assert "brisk_quay is being started" in answer.headers["Slipway-Toast"]
    world.container.refresh_from_db()
    assert world.container.desired == State.RUNNING
    assert [type(command).__name__ for command in road.take()] == ["RunContainer"]

    answer = browser.post(f"{url}/remove")
    assert answer.headers["Location"] == f"{url}/"
    world.container.refresh_from_db()
    assert world.container.state == State.REMOVING


def test_a_refused_action_says_why_on_the_page(world: World) -> None:
    answer = browser_of(world.member).post(f"/containers/{world.container.id}/kill")

    assert answer.status_code == 409
    assert b"brisk_quay is not running" in answer.content
    assert b"CONTAINER_NOT_RUNNING" in answer.content


def test_an_image_in_use_is_not_removed_and_the_page_says_by_whom(world: World) -> None:
    answer = browser_of(world.member).post(f"/projects/acme/shop/images/{world.image.image_id}/remove")

    assert answer.status_code == 409
    assert b"brisk_quay" in answer.content
