"""What changed is told as it was before and as it is after, by every service that changes something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

import slipway
from slipway.accounts import invitations, memberships, services
from slipway.accounts.actors import Actor
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.catalog import services as catalog
from slipway.catalog import tagging
from slipway.containers import services as containers
from slipway.containers.models import Container, State
from slipway.deletion import delete_project
from slipway.projects import quotas
from slipway.projects.models import Resource
from tests.factories import make_actor, make_container, make_image, make_project, make_user

PLATFORM = Path(next(iter(slipway.__path__)))
CHANGING = {
    "accept", "approve", "decline", "issue", "make", "remove", "rename", "require_mfa", "revoke", "rules",
    "set", "start", "stop", "tag", "transfer", "untag", "visibility", "withdraw",
}  # fmt: skip
"""Verbs of actions that give something another value, or its first or last one."""


def told(action: str) -> tuple[Any, Any]:
    entry = Entry.objects.filter(action=action).latest("seq")
    return entry.before, entry.after


def recordings() -> Iterator[tuple[str, ast.Call]]:
    """Every call of ``record`` with a fixed action, and where it is."""
    for path in PLATFORM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="record"), args=[_, ast.Constant(), *_]):
                    yield f"{path.relative_to(PLATFORM)}:{node.lineno}", node


def test_every_change_says_what_was_or_what_is() -> None:
    calls = list(recordings())
    changes = {
        f"{place} {call.args[1].value}": {each.arg for each in call.keywords}  # type: ignore[attr-defined]
        for place, call in calls
        if call.args[1].value.partition(".")[2] in CHANGING  # type: ignore[attr-defined]
    }
    assert len(changes) >= 15
    silent = {
        name
        for name, words in changes.items()
        if not words & {"before", "after", None}  # None: `**changed`
    }
    assert silent == set()


@pytest.mark.django_db
def test_roles_are_told_before_and_after() -> None:
    project = make_project()
    team = project.team
    owner, member = make_actor(team, username="olga"), make_actor(team, Role.VIEWER, username="vera")
    memberships.set_member(owner, team, "vera", Role.DEVELOPER)
    assert told("member.set") == ({"role": "viewer"}, {"role": "developer"})
    memberships.set_project_member(owner, project, "vera", Role.MAINTAINER)
    assert told("project_member.set") == (None, {"role": "maintainer"})
    memberships.remove_project_member(owner, project, "vera")
    assert told("project_member.remove") == ({"role": "maintainer"}, None)
    memberships.transfer_ownership(owner, team, "vera")
    roles = {"vera": "developer", "olga": "owner"}, {"vera": "owner", "olga": "maintainer"}
    assert told("team.transfer") == roles
    memberships.remove_member(Actor(user=member.user), team, "olga")
    assert told("member.remove") == ({"role": "maintainer"}, None)


@pytest.mark.django_db
def test_an_invitation_is_told_with_its_offer_and_what_it_made_of_whom() -> None:
    team = make_project().team
    owner, guest = make_actor(team), Actor(user=make_user("gwen"))
    invitation, secret = invitations.invite(owner, team, Role.DEVELOPER, email="gwen@example.org")
    offer = told("invitation.make")[1]
    assert (offer["role"], offer["email"]) == ("developer", "gwen@example.org")
    invitations.accept(guest, invitation)
    assert told("invitation.accept") == ({"role": None}, {"role": "developer"})
    another, _ = invitations.invite(owner, team, Role.VIEWER)
    invitations.withdraw(owner, another)
    assert told("invitation.withdraw")[0]["role"] == "viewer"
    assert secret not in str(list(Entry.objects.values_list("before", "after", "detail")))


@pytest.mark.django_db
def test_a_token_is_told_with_its_reach_and_never_itself() -> None:
    project = make_project()
    owner = make_actor(project.team)
    expires = timezone.now() + timedelta(days=1)
    robot, secret = services.issue_token(
        owner, "ci", scopes=["read", "write"], project=project, robot=True, expires_at=expires
    )
    reach = {
        "scopes": ["read", "write"],
        "project": project.path,
        "robot": True,
        "expires_at": expires.isoformat(),
    }
    assert told("token.issue") == (None, reach)
    services.revoke_token(owner, robot)
    assert told("token.revoke") == (reach, None)
    everything = str(list(Entry.objects.values()))
    assert secret not in everything
    assert secret.rpartition("_")[2] not in everything


@pytest.mark.django_db
def test_policies_names_and_quotas_are_told_before_and_after() -> None:
    project = make_project()
    team = project.team
    owner, administrator = make_actor(team), Actor(user=make_user(is_staff=True))
    name = team.name
    memberships.rename_team(owner, team, "Another")
    assert told("team.rename") == ({"name": name}, {"name": "Another"})
    memberships.set_requires_mfa(administrator, team, True)
    assert told("team.require_mfa") == ({"requires_mfa": False}, {"requires_mfa": True})
    asked = quotas.ask(owner, project, Resource.BUILDS, 50, "a busy week")
    quotas.decide(administrator, asked, approve=True)
    assert told("quota.approve") == ({"state": "pending"}, {"state": "approved"})
    assert told("limit.set") == ({"builds": None}, {"builds": 50})
    delete_project(owner, project, project.path)
    assert told("project.delete")[0] == {"name": project.name}


@pytest.mark.django_db
def test_what_happens_to_containers_and_images_is_told_before_and_after() -> None:
    project = make_project()
    owner = make_actor(project.team)
    image = make_image(project, name="web:1")
    container = make_container(project, image=image, observed=State.EXITED, run=1, exit_code=0)
    containers.start(owner, container)
    was, desired = told("container.start")
    assert (was["desired"] != "running", desired) == (True, {"desired": "running"})
    tagging.tag_image(owner, project, image, "web:2")
    assert told("image.tag") == ({"image": None}, {"image": image.image_id})
    tagging.untag_image(owner, project, "web:2")
    assert told("image.untag") == ({"image": image.image_id}, None)
    Container.objects.all().delete()
    catalog.remove_image(owner, image)
    assert told("image.remove") == ({"names": ["web:1"]}, None)
