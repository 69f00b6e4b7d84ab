"""Every page: as a member, as a stranger, signed out; and that its cost does not grow with what it lists."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from slipway import threads
from slipway.nodes import agent
from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.models import Node
from tests import factories
from tests.slipway.console.conftest import World, browser_of

OF_PROJECT = [
    "/projects/acme/shop/",
    "/projects/acme/shop/run",
    "/projects/acme/shop/images/",
    "/projects/acme/shop/images/import",
    "/projects/acme/shop/images/{image}/",
    "/containers/{container}/",
    "/jobs/{job}/",
    "/jobs/?project={project}",
]
OF_EVERYBODY = ["/", "/projects/", "/projects/new", "/teams/new", "/jobs/", "/tokens/", "/palette"]
LISTS = ["/", "/projects/", "/projects/acme/shop/", "/projects/acme/shop/images/", "/jobs/", "/palette"]


def address(pattern: str, world: World) -> str:
    return pattern.format(
        image=world.image.image_id,
        container=world.container.id,
        job=world.job.hex,
        project=world.project.hex,
    )


@pytest.mark.parametrize("pattern", OF_PROJECT + OF_EVERYBODY)
def test_a_member_sees_the_page(world: World, pattern: str) -> None:
    answer = browser_of(world.member).get(address(pattern, world))

    assert answer.status_code == 200


@pytest.mark.parametrize("pattern", OF_PROJECT)
def test_for_a_stranger_the_page_does_not_exist(world: World, pattern: str) -> None:
    answer = browser_of(world.stranger).get(address(pattern, world))

    assert answer.status_code == 404
    assert b"brisk_quay" not in answer.content


@pytest.mark.parametrize("pattern", OF_PROJECT + OF_EVERYBODY[1:])
def test_whoever_is_signed_out_is_led_to_the_sign_in(world: World, pattern: str) -> None:
    url = address(pattern, world)
    answer = browser_of(None).get(url)

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("action", ["start", "stop", "kill", "remove"])
def test_for_a_stranger_there_is_nothing_to_act_on(world: World, action: str) -> None:
    answer = browser_of(world.stranger).post(f"/containers/{world.container.id}/{action}")

    assert answer.status_code == 404


@pytest.mark.parametrize("action", ["start", "remove"])
def test_a_viewer_may_look_but_not_act(world: World, action: str) -> None:
    browser = browser_of(world.viewer)

    assert browser.post(f"/containers/{world.container.id}/{action}").status_code == 403
    page = browser.get(f"/containers/{world.container.id}/").content.decode()
    assert "brisk_quay" in page
    assert f'action="/containers/{world.container.id}/{action}"' not in page


@pytest.mark.parametrize("url", ["/projects/acme/shop/run", "/projects/acme/shop/images/import"])
def test_a_viewer_is_refused_the_forms(world: World, url: str) -> None:
    assert browser_of(world.viewer).get(url).status_code == 403


def test_nodes_are_for_administrators(world: World) -> None:
    assert browser_of(world.member).get("/nodes/").status_code == 404
    page = browser_of(world.administrator).get("/nodes/")
    assert page.status_code == 200
    assert b"local" in page.content


@pytest.fixture
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asynchronous pages look through the test's own connection, which must stay open."""
    monkeypatch.setattr(threads, "close_old_connections", lambda: None)


@pytest.mark.usefixtures("one_transaction")
def test_a_node_is_looked_at_line_by_line_the_worst_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def doctor(node: Node) -> list[dict[str, str]]:
        return [
            {"name": "kernel", "status": "ok", "why": f"of {node.name}", "fix": ""},
            {"name": "crun", "status": "missing", "why": "no <program>", "fix": "apt-get install crun"},
        ]

    monkeypatch.setattr(agent, "doctor", doctor)
    assert browser_of(world.member).get("/nodes/local/checks/").status_code == 404
    assert browser_of(world.administrator).get("/nodes/nowhere/checks/").status_code == 404
    page = browser_of(world.administrator).get("/nodes/local/checks/")
    text = page.content.decode()
    assert page.status_code == 200
    assert text.index("apt-get install crun") < text.index("of local")
    assert "no &lt;program&gt;" in text
    assert "something is missing" in text


@pytest.mark.usefixtures("one_transaction")
def test_a_node_that_does_not_answer_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def doctor(node: Node) -> None:
        raise NodeUnreachable("The agent of node 'local' does not answer; is it running?", node=node.name)

    monkeypatch.setattr(agent, "doctor", doctor)
    page = browser_of(world.administrator).get("/nodes/local/checks/")
    assert page.status_code == 200
    assert b"does not answer" in page.content
    assert b"make doctor" in page.content


def test_the_front_page_is_for_everybody(world: World) -> None:
    answer = Client().get("/")

    assert answer.status_code == 200
    assert b"Sign in" in answer.content
    assert b"acme" not in answer.content


def test_sign_up_says_that_it_is_closed(db: None) -> None:
    answer = Client().get("/accounts/signup/")

    assert answer.status_code == 200
    assert b"Accounts are made by hand here" in answer.content


def test_a_member_signs_in_and_out(world: World) -> None:
    world.member.set_password("correct horse battery")
    world.member.save()
    browser = Client()
    wrong = browser.post("/accounts/login/", {"login": "mia", "password": "wrong horse battery"})
    assert wrong.status_code == 200
    assert "is-invalid" not in wrong.content.decode()
    assert "mia" in wrong.content.decode()

    answer = browser.post("/accounts/login/", {"login": "mia", "password": "correct horse battery"})
    assert answer.headers["Location"] == "/"
    assert b"Dashboard" in browser.get("/").content

    browser.post("/accounts/logout/")
    assert b"Dashboard" not in browser.get("/").content


@pytest.mark.parametrize("url", LISTS)
def test_the_number_of_queries_does_not_grow_with_the_list(world: World, url: str) -> None:
    browser = browser_of(world.administrator)
    browser.get(url)
    few = queries_of(browser, url)
    for number in range(5):
        project = factories.make_project(world.project.team)
        factories.make_image(world.project, name=f"image{number}:1", layers=("base", f"own{number}"))
        factories.make_container(world.project, observed="exited", exit_code=1, cause=None)
        factories.make_container(project)
        factories.make_job(project)

    assert queries_of(browser, url) == few


def queries_of(browser: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(url).status_code == 200
    return len(queries)


@pytest.mark.parametrize("pattern", OF_PROJECT + OF_EVERYBODY[:-1] + ["/accounts/login/"])
def test_pages_obey_their_own_content_security_policy(world: World, pattern: str) -> None:
    user = None if pattern.startswith("/accounts") else world.administrator
    answer = browser_of(user).get(address(pattern, world))
    page = answer.content.decode()

    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<[^>]+\sstyle=", page)
    assert not re.search(r"<[^>]+\son[a-z]+=", page)
    assert not re.search(r"<script(?![^>]*(?:\bsrc=|application/json))", page)
    assert not re.search(r"<style", page)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)


@pytest.mark.parametrize("pattern", ["/", "/projects/acme/shop/", "/containers/{container}/", "/jobs/{job}/"])
def test_a_live_region_is_the_same_address_asked_by_htmx(world: World, pattern: str) -> None:
    browser = browser_of(world.member)
    url = address(pattern, world)
    whole = browser.get(url)
    region = browser.get(url, headers={"HX-Request": "true"})

    assert b"<html" in whole.content
    assert b"<html" not in region.content
    assert "HX-Request" in whole.headers["Vary"]
    assert "no-store" in whole.headers["Cache-Control"]


@pytest.mark.parametrize("url", ["/no/such/page", "/containers/" + "0" * 64 + "/"])
def test_a_missing_page_looks_like_the_others(world: World, url: str) -> None:
    answer = browser_of(world.member).get(url)

    assert answer.status_code == 404
    assert b"There is nothing here" in answer.content
