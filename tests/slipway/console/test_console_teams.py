"""Pages of teams, invitations and a project's settings, as owner, viewer, stranger and nobody."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from slipway.accounts.models import Invitation, Membership, Role, Team, Token, User
from slipway.projects.models import Project
from tests import factories
from tests.slipway.console.conftest import World, browser_of

PASSWORD = "correct horse battery"


def link_in(page: str) -> str:
    found = re.search(r"http://testserver(/invitation/open\?token=[\w-]+)", page)
    assert found
    return found[1]


@pytest.mark.parametrize("url", ["/teams/", "/teams/acme/", "/projects/acme/shop/settings"])
def test_the_owner_sees_the_page_under_the_content_security_policy(world: World, url: str) -> None:
    factories.make_actor(world.project.team, Role.DEVELOPER)
    answer = browser_of(world.member).get(url)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<[^>]+\sstyle=|<[^>]+\son[a-z]+=|<style|<script(?![^>]*\bsrc=)", page)


def test_a_viewer_sees_the_team_without_its_levers(world: World) -> None:
    page = browser_of(world.viewer).get("/teams/acme/").content.decode()
    assert "mia" in page
    for lever in ("/teams/acme/invite", "/teams/acme/delete", "/teams/acme/settings", '/teams/acme/members"'):
        assert lever not in page
    assert browser_of(world.viewer).get("/projects/acme/shop/settings").status_code == 403


def test_for_a_stranger_there_is_no_team(world: World) -> None:
    assert browser_of(world.stranger).get("/teams/acme/").status_code == 404
    assert (
        browser_of(world.stranger)
        .post("/teams/acme/members", {"username": "sam", "role": "owner"})
        .status_code
        == 404
    )
    assert browser_of(None).get("/teams/acme/").status_code == 302


def test_an_invited_stranger_signs_in_and_joins(world: World) -> None:
    made = browser_of(world.member).post("/teams/acme/invite", {"role": "developer", "days": 7})
    assert made.status_code == 201
    guest = browser_of(world.stranger)
    opened = guest.get(link_in(made.content.decode()))
    assert opened.headers["Location"] == "/invitation/"
    page = guest.get("/invitation/").content.decode()
    assert "Accept as sam" in page
    assert "token=" not in page
    guest.post("/invitation/")
    assert Membership.objects.get(user=world.stranger, team__slug="acme").role == Role.DEVELOPER
    assert guest.get("/teams/acme/").status_code == 200
    assert guest.get("/invitation/").status_code == 410


def test_by_invitation_only_means_just_that(world: World, settings: Any) -> None:
    settings.SLIPWAY_SIGNUP = "invite"
    newcomer = {"username": "nora", "email": "nora@example.org", "password1": PASSWORD, "password2": PASSWORD}
    made = browser_of(world.member).post("/teams/acme/invite", {"role": "viewer", "days": 7})
    browser = Client()
    browser.post("/accounts/signup/", newcomer)
    assert not User.objects.filter(username="nora").exists()
    browser.get(link_in(made.content.decode()))
    assert b"Make an account" in browser.get("/invitation/").content
    answer = browser.post("/accounts/signup/", {**newcomer, "next": "/invitation/"})
    assert answer.headers["Location"] == "/invitation/"
    browser.post("/invitation/")
    assert Membership.objects.get(user__username="nora").role == Role.VIEWER
    fresh = Client()
    fresh.get(link_in(made.content.decode()))
    fresh.post("/accounts/signup/", {**newcomer, "username": "olaf", "email": "olaf@example.org"})
    assert not User.objects.filter(username="olaf").exists()


def test_a_wrong_link_says_what_to_do(db: None) -> None:
    answer = Client().get("/invitation/open?token=slpi_nonsense")
    assert answer.status_code == 410
    assert b"Ask for another" in answer.content


def test_an_invitation_is_withdrawn(world: World) -> None:
    browser = browser_of(world.member)
    made = browser.post("/teams/acme/invite", {"role": "developer", "days": 7})
    invitation = Invitation.objects.get()
    browser.post(f"/teams/acme/invitations/{invitation.hex}/withdraw")
    assert browser_of(world.stranger).get(link_in(made.content.decode())).status_code == 410


def test_who_lacks_a_second_factor_is_told_what_to_do(world: World) -> None:
    Team.objects.filter(slug="acme").update(requires_mfa=True)
    browser = browser_of(world.viewer)
    for url in ("/projects/acme/shop/", "/teams/acme/", "/projects/acme/shop/images/"):
        answer = browser.get(url)
        assert answer.status_code == 403
        assert b"Set up an app" in answer.content
    assert b"brisk_quay" not in browser.get("/").content
    assert browser_of(world.stranger).get("/projects/acme/shop/").status_code == 404


def test_members_change_role_and_go(world: World) -> None:
    browser = browser_of(world.member)
    browser.post("/teams/acme/members", {"username": "vic", "role": "developer"})
    assert Membership.objects.get(user=world.viewer).role == Role.DEVELOPER
    browser.post("/teams/acme/members/vic/remove")
    assert not Membership.objects.filter(user=world.viewer).exists()
    answer = browser.post("/teams/acme/members/mia/remove", follow=True)
    assert b"needs an owner" in answer.content


def test_a_robot_is_made_shown_once_and_revoked(world: World) -> None:
    browser = browser_of(world.member)
    made = browser.post("/projects/acme/shop/settings", {"name": "ci", "scope": "write", "days": "30"})
    assert made.status_code == 201
    token = Token.objects.get(name="ci")
    assert token.is_robot
    assert f"slp_{token.prefix}_" in made.content.decode()
    browser.post(f"/projects/acme/shop/settings/tokens/{token.hex}/revoke")
    token.refresh_from_db()
    assert token.revoked_at


def test_a_project_with_containers_is_not_deleted(world: World) -> None:
    browser = browser_of(world.member)
    answer = browser.post("/projects/acme/shop/settings/delete", {"confirm": "acme/shop"}, follow=True)
    assert b"still holds" in answer.content
    browser.post("/projects/acme/shop/settings/clear")
    world.container.refresh_from_db()
    assert world.container.desired == "removing"


def test_an_empty_project_and_team_are_deleted_by_name(world: World) -> None:
    team = factories.make_team("brief")
    factories.make_project(team, slug="gone")
    owner = factories.make_actor(team, Role.OWNER).user
    browser = browser_of(owner)
    browser.post("/projects/brief/gone/settings/delete", {"confirm": "gone"})
    assert Project.objects.filter(slug="gone").exists()
    browser.post("/projects/brief/gone/settings/delete", {"confirm": "brief/gone"})
    browser.post("/teams/brief/delete", {"confirm": "brief"})
    assert not Team.objects.filter(slug="brief").exists()


@pytest.mark.parametrize("url", ["/teams/acme/", "/projects/acme/shop/settings"])
def test_the_cost_does_not_grow_with_the_members(
    world: World, url: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(15):
        factories.make_actor(world.project.team, Role.DEVELOPER)
    browser = browser_of(world.member)
    browser.get(url)
    with django_assert_max_num_queries(20):
        browser.get(url)
