"""Teams by REST: members, invitations, second factors, robots, handing over, deletion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.utils import timezone

from slipway.accounts import services
from slipway.accounts.actors import Actor
from slipway.accounts.models import (
    Invitation,
    Membership,
    ProjectMembership,
    RetiredProject,
    Role,
    Team,
    Token,
)
from slipway.audit.models import Entry
from slipway.catalog.models import Image
from slipway.containers.models import Container
from slipway.projects.models import Project
from tests.factories import make_actor, make_container, make_image, make_project, make_user
from tests.slipway.api.conftest import People, Rest


def put(token: str, path: str, body: Any) -> Any:
    return Rest(token).client.put(path, body, content_type="application/json")


def patch(token: str, path: str, body: Any) -> Any:
    return Rest(token).client.patch(path, body, content_type="application/json")


def secret_of(answer: Any) -> str:
    return str(answer.json()["link"].split("token=")[1])


def session_of(user: Any) -> Rest:
    rest = Rest()
    rest.client.force_login(user)
    return rest


@pytest.fixture
def team(people: People) -> str:
    return f"/api/v1/teams/{people.project.team.slug}"


def test_an_invitation_makes_a_member_once(people: People, team: str) -> None:
    answer = Rest(people.owner).post(f"{team}/invitations", {"role": "developer"})
    assert answer.status_code == 201
    secret = secret_of(answer)
    assert secret not in str(Invitation.objects.values().get())
    newcomer, late = make_user("nora"), make_user("lars")
    accepted = session_of(newcomer).post("/api/v1/invitations/accept", {"secret": secret})
    assert accepted.json()["slug"] == people.project.team.slug
    assert Membership.objects.get(user=newcomer).role == Role.DEVELOPER
    again = session_of(late).post("/api/v1/invitations/accept", {"secret": secret})
    assert (again.status_code, again.json()["code"]) == (410, "INVITATION_GONE")
    assert secret not in str(list(Entry.objects.values()))


@pytest.mark.parametrize(
    "change", [{"expires_at": timezone.now() - timedelta(1)}, {"revoked_at": timezone.now()}]
)
def test_an_old_or_withdrawn_invitation_opens_nothing(people: People, team: str, change: Any) -> None:
    secret = secret_of(Rest(people.owner).post(f"{team}/invitations", {}))
    Invitation.objects.update(**change)
    answer = session_of(make_user()).post("/api/v1/invitations/accept", {"secret": secret})
    assert answer.json()["code"] == "INVITATION_GONE"


def test_an_invitation_does_not_lower_a_role(people: People, team: str) -> None:
    secret = secret_of(Rest(people.owner).post(f"{team}/invitations", {"role": "viewer"}))
    member = make_actor(people.project.team, Role.MAINTAINER).user
    session_of(member).post("/api/v1/invitations/accept", {"secret": secret})
    assert Membership.objects.get(user=member).role == Role.MAINTAINER


def test_who_may_not_own_invites_no_owner(people: People, team: str) -> None:
    maintainer = make_actor(people.project.team, Role.MAINTAINER)
    token = services.issue_token(maintainer, "t", scopes=["admin"])[1]
    assert Rest(token).post(f"{team}/invitations", {"role": "owner"}).json()["code"] == "NOT_ALLOWED"
    assert Rest(token).post(f"{team}/invitations", {"role": "developer"}).status_code == 201


def test_an_invitation_by_mail_carries_the_link(
    people: People, team: str, mailoutbox: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = Rest(people.owner).post(f"{team}/invitations", {"email": "nora@example.org"})
    [letter] = mailoutbox
    assert letter.to == ["nora@example.org"]
    assert answer.json()["link"] in letter.body


def test_an_invitation_to_a_project_opens_only_that(people: People, team: str) -> None:
    other = make_project(people.project.team)
    answer = Rest(people.owner).post(
        f"{team}/invitations", {"project": people.project.slug, "role": "viewer"}
    )
    guest = make_user()
    session_of(guest).post("/api/v1/invitations/accept", {"secret": secret_of(answer)})
    rest = session_of(guest)
    assert rest.get(people.path).status_code == 200
    assert [each["path"] for each in rest.get("/api/v1/projects").json()["items"]] == [people.project.path]
    assert rest.get(f"/api/v1/projects/{other.path}").status_code == 404
    assert rest.get(team).status_code == 404


def test_a_role_in_a_project_counts_instead_of_the_teams(people: People) -> None:
    viewer = make_actor(people.project.team, Role.VIEWER, username="vera").user
    other = make_project(people.project.team)
    assert put(people.owner, f"{people.path}/members/vera", {"role": "developer"}).status_code == 200
    make_image(people.project)
    make_image(other)
    rest = session_of(viewer)
    asked = {"image": "busybox"}
    assert rest.post(f"{people.path}/containers", asked).status_code == 201
    assert rest.post(f"/api/v1/projects/{other.path}/containers", asked).json()["code"] == "NOT_ALLOWED"
    assert Rest(people.owner).delete(f"{people.path}/members/vera").status_code == 204
    assert rest.post(f"{people.path}/containers", asked).json()["code"] == "NOT_ALLOWED"


def test_a_role_in_a_project_may_be_less_than_the_teams(people: People) -> None:
    member = make_actor(people.project.team, Role.DEVELOPER, username="dev").user
    put(people.owner, f"{people.path}/members/dev", {"role": "viewer"})
    make_image(people.project)
    answer = session_of(member).post(f"{people.path}/containers", {"image": "busybox"})
    assert answer.json()["code"] == "NOT_ALLOWED"


def test_a_removed_member_takes_their_tokens_along(people: People, team: str) -> None:
    member = make_actor(people.project.team, Role.MAINTAINER, username="max")
    ProjectMembership.objects.create(project=people.project, user=member.user, role=Role.MAINTAINER)
    _, bound = services.issue_token(member, "mine", scopes=["write"], project=people.project)
    _, robot = services.issue_token(member, "ci", scopes=["write"], project=people.project, robot=True)
    _, general = services.issue_token(member, "all", scopes=["write"])
    assert Rest(robot).get(people.path).status_code == 200
    assert Rest(people.owner).delete(f"{team}/members/max").status_code == 204
    assert Rest(bound).get(people.path).json()["code"] == "TOKEN_REVOKED"
    assert Rest(robot).get(people.path).json()["code"] == "TOKEN_REVOKED"
    assert Rest(general).get(people.path).status_code == 404
    assert not ProjectMembership.objects.exists()


def test_who_was_shown_out_has_left_no_way_back_in(people: People, team: str) -> None:
    member = make_actor(people.project.team, Role.MAINTAINER, username="max")
    token = services.issue_token(member, "t", scopes=["admin"])[1]
    secret = secret_of(Rest(token).post(f"{team}/invitations", {}))
    asked = {"name": "ci", "scopes": ["admin"], "project": people.project.path, "robot": True}
    robot = Rest(token).post("/api/v1/tokens", asked).json()["token"]
    second = Rest(robot).post("/api/v1/tokens", asked).json()["token"]
    assert Rest(second).get(people.path).status_code == 200
    assert put(robot, f"{people.path}/members/max", {"role": "viewer"}).json()["code"] == "NOT_ALLOWED"
    Rest(people.owner).delete(f"{team}/members/max")
    assert Rest(second).get(people.path).json()["code"] == "TOKEN_REVOKED"
    back = session_of(member.user).post("/api/v1/invitations/accept", {"secret": secret})
    assert back.json()["code"] == "INVITATION_GONE"


def test_the_last_owner_neither_leaves_nor_steps_down(people: People, team: str) -> None:
    owner = Membership.objects.get(team=people.project.team, role=Role.OWNER).user
    path = f"{team}/members/{owner.username}"
    assert session_of(owner).delete(path).json()["code"] == "VALUE_INVALID"
    assert put(people.owner, path, {"role": "viewer"}).json()["code"] == "VALUE_INVALID"


def test_a_team_is_handed_over(people: People, team: str) -> None:
    heir = make_actor(people.project.team, Role.DEVELOPER, username="heir").user
    assert Rest(people.owner).post(f"{team}/owner", {"username": "heir"}).status_code == 204
    roles = dict(Membership.objects.filter(team=people.project.team).values_list("user__username", "role"))
    assert roles[heir.username] == Role.OWNER
    assert list(roles.values()).count(Role.OWNER) == 1
    assert Rest(people.owner).post(f"{team}/owner", {"username": "heir"}).json()["code"] == "NOT_ALLOWED"
    assert Rest(people.viewer).post(f"{team}/owner", {"username": "heir"}).json()["code"] == "NOT_ALLOWED"


def give_factor(user: Any) -> None:
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})


def test_a_team_that_asks_for_a_second_factor_shuts_others_out(people: People, team: str) -> None:
    owner = Membership.objects.get(team=people.project.team, role=Role.OWNER).user
    refused = patch(people.owner, team, {"requires_mfa": True})
    assert "yourself first" in refused.json()["detail"]
    give_factor(owner)
    assert patch(people.owner, team, {"requires_mfa": True}).json()["requires_mfa"] is True
    make_container(people.project, name="hidden")
    assert Rest(people.owner).get(people.path).status_code == 200

    member = make_actor(people.project.team, Role.DEVELOPER).user
    for rest in (session_of(member), Rest(people.viewer)):
        for path in (people.path, f"{people.path}/containers", team, f"{team}/members"):
            answer = rest.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "MFA_REQUIRED"), path
        assert rest.get("/api/v1/projects").json()["items"] == []
    assert Rest(people.stranger).get(people.path).status_code == 404
    give_factor(member)
    assert session_of(member).get(people.path).status_code == 200


def test_robots_go_on_in_a_team_that_asks_for_a_second_factor(people: People) -> None:
    owner = Membership.objects.get(team=people.project.team, role=Role.OWNER).user
    _, robot = services.issue_token(Actor(user=owner), "ci", project=people.project, robot=True)
    Team.objects.update(requires_mfa=True)
    assert Rest(robot).get(people.path).status_code == 200
    assert Rest(people.owner).get(people.path).json()["code"] == "MFA_REQUIRED"


def test_who_is_shut_out_may_leave(people: People, team: str) -> None:
    Team.objects.update(requires_mfa=True)
    member = make_actor(people.project.team, Role.DEVELOPER).user
    assert session_of(member).delete(f"{team}/members/{member.username}").status_code == 204


def test_a_robot_does_what_its_scopes_say_in_its_project_alone(people: People, team: str) -> None:
    other = make_project(people.project.team)
    asked = {"name": "ci", "scopes": ["write"], "project": people.project.path, "robot": True}
    answer = Rest(people.owner).post("/api/v1/tokens", asked)
    assert answer.status_code == 201
    assert answer.json()["robot"] is True
    robot = Rest(answer.json()["token"])
    make_image(people.project)
    assert robot.post(f"{people.path}/containers", {"image": "busybox"}).status_code == 201
    assert robot.get(f"/api/v1/projects/{other.path}").status_code == 404
    assert robot.get("/api/v1/projects").json()["items"][0]["path"] == people.project.path
    assert len(robot.get("/api/v1/projects").json()["items"]) == 1
    me = robot.get("/api/v1/me").json()
    assert me["user"] is None
    assert me["roles"] == {}
    assert robot.post("/api/v1/tokens", {"name": "more"}).status_code == 403
    assert robot.post("/api/v1/teams", {"slug": "robots"}).status_code == 403
    assert (
        robot.client.put(
            f"{people.path}/members/x", {"role": "viewer"}, content_type="application/json"
        ).status_code
        == 403
    )
    entry = Entry.objects.get(action="container.create")
    assert entry.user is None
    assert entry.actor.startswith("robot ci")


def test_a_robot_with_everything_does_not_own(people: People) -> None:
    asked = {"name": "ci", "scopes": ["admin"], "project": people.project.path, "robot": True}
    robot = Rest(Rest(people.owner).post("/api/v1/tokens", asked).json()["token"])
    assert robot.get(f"{people.path}/tokens").status_code == 200
    assert robot.delete(f"{people.path}?confirm={people.project.path}").json()["code"] == "NOT_ALLOWED"


def test_a_developer_makes_no_robot(people: People) -> None:
    developer = make_actor(people.project.team, Role.DEVELOPER)
    token = services.issue_token(developer, "t", scopes=["admin"])[1]
    asked = {"name": "ci", "project": people.project.path, "robot": True}
    assert Rest(token).post("/api/v1/tokens", asked).json()["code"] == "NOT_ALLOWED"


def test_whoever_manages_the_project_sees_and_revokes_its_tokens(people: People) -> None:
    member = make_actor(people.project.team, Role.DEVELOPER)
    bound, text = services.issue_token(member, "mine", project=people.project)
    items = Rest(people.owner).get(f"{people.path}/tokens").json()["items"]
    assert [each["id"] for each in items] == [bound.hex]
    assert Rest(people.stranger).delete(f"/api/v1/tokens/{bound.hex}").status_code == 404
    assert Rest(people.owner).delete(f"/api/v1/tokens/{bound.hex}").status_code == 204
    assert Rest(text).get("/api/v1/me").json()["code"] == "TOKEN_REVOKED"


def test_a_token_tells_what_it_may(people: People) -> None:
    at = timezone.now() + timedelta(hours=1)
    asked = {"name": "ci", "scopes": ["write"], "project": people.project.path, "expires_at": at.isoformat()}
    text = Rest(people.owner).post("/api/v1/tokens", asked).json()["token"]
    told = Rest(text).post("/api/v1/tokens/introspect").json()
    assert told["active"] is True
    assert (told["scope"], told["project"], told["exp"]) == (
        "write",
        people.project.path,
        int(at.timestamp()),
    )
    own = Rest(people.owner).post("/api/v1/tokens/introspect", {"token": text}).json()
    assert own["active"] is True
    for nothing in ("slp_nonsense", people.expired, people.revoked, people.stranger):
        answer = Rest(people.owner).post("/api/v1/tokens/introspect", {"token": nothing})
        assert answer.json() == {"active": False}


def test_a_project_is_deleted_once_nothing_is_left_on_the_node(people: People) -> None:
    image = make_image(people.project)
    container = make_container(people.project, image=image, observed="running", observed_generation=1)
    rest, path = Rest(people.owner), f"{people.path}?confirm={people.project.path}"
    refused = rest.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "NOT_EMPTY")
    assert refused.json()["facts"]["containers"] == 1
    assert rest.post(f"{people.path}/clear").status_code == 202
    container.refresh_from_db()
    assert container.desired == "removing"
    assert rest.delete(path).json()["code"] == "NOT_EMPTY"
    Container.objects.update(removed_at=timezone.now(), image=None)
    Image.objects.all().delete()
    assert rest.delete(people.path).status_code == 400
    assert rest.delete(f"{people.path}?confirm=wrong").json()["code"] == "VALUE_INVALID"
    index = people.project.index
    assert rest.delete(path).status_code == 204
    assert not Project.objects.filter(pk=people.project.pk).exists()
    assert RetiredProject.objects.get().index == index
    assert Entry.objects.get(action="project.delete").detail["past_containers"] == 1


def test_the_index_of_a_deleted_project_is_not_given_out_again(people: People) -> None:
    rest = Rest(people.owner)
    made = rest.post("/api/v1/projects", {"team": people.project.team.slug, "slug": "short-lived"}).json()
    assert rest.delete(f"/api/v1/projects/{made['path']}?confirm={made['path']}").status_code == 204
    again = rest.post("/api/v1/projects", {"team": people.project.team.slug, "slug": "short-lived"}).json()
    assert again["subnet"] != made["subnet"]


def test_a_team_is_deleted_after_its_projects(people: People, team: str) -> None:
    rest, slug = Rest(people.owner), people.project.team.slug
    answer = rest.delete(f"{team}?confirm={slug}")
    assert (answer.json()["code"], answer.json()["facts"]["projects"]) == ("NOT_EMPTY", 2)
    Token.objects.filter(project__isnull=False).delete()
    Project.objects.filter(team=people.project.team).delete()
    assert Rest(people.viewer).delete(f"{team}?confirm={slug}").json()["code"] == "NOT_ALLOWED"
    assert rest.delete(f"{team}?confirm={slug}").status_code == 204
    assert not Team.objects.filter(slug=slug).exists()


def test_lists_of_a_team_cost_the_same_however_long(
    people: People, team: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(12):
        make_actor(people.project.team, Role.VIEWER)
        Rest(people.owner).post(f"{team}/invitations", {})
    for path in (f"{team}/members", f"{team}/invitations", f"{people.path}/tokens", f"{people.path}/members"):
        with django_assert_max_num_queries(8):
            assert Rest(people.owner).get(path).status_code == 200
