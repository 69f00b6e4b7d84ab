from __future__ import annotations

import pytest

from slipway.accounts import memberships, queries, services
from slipway.accounts.actors import OPERATOR, Actor
from slipway.accounts.errors import InvalidName, InvalidRequest, NameTaken, NotAllowed, NotFound
from slipway.accounts.models import Membership, Role
from slipway.accounts.policy import Action, can, require
from slipway.accounts.slugs import parse_slug
from tests.factories import make_actor, make_library, make_project, make_team

pytestmark = pytest.mark.django_db

ALLOWED = {
    Role.VIEWER: {Action.READ},
    Role.DEVELOPER: {Action.READ, Action.WRITE},
    Role.MAINTAINER: {Action.READ, Action.WRITE, Action.MANAGE},
    Role.OWNER: {Action.READ, Action.WRITE, Action.MANAGE, Action.OWN},
}


@pytest.mark.parametrize("role", Role)
def test_a_role_allows_exactly_its_actions(role: Role) -> None:
    project = make_project()
    actor = make_actor(project.team, role)
    assert {action for action in Action if can(actor, action, project)} == ALLOWED[role]


def test_who_is_no_member_sees_nothing() -> None:
    project, actor = make_project(), make_actor()
    assert not any(can(actor, action, project) for action in Action)
    with pytest.raises(NotFound):
        require(actor, Action.WRITE, project)


def test_who_may_look_but_not_touch_is_told_so() -> None:
    project = make_project()
    with pytest.raises(NotAllowed):
        require(make_actor(project.team, Role.VIEWER), Action.WRITE, project)


def test_everyone_reads_the_library_and_nobody_writes_it() -> None:
    library, actor = make_library(), make_actor()
    assert can(actor, Action.READ, library)
    assert not can(actor, Action.WRITE, library)


def test_administrators_may_everything_until_deactivated() -> None:
    project, actor = make_project(), make_actor(is_staff=True)
    assert can(actor, Action.OWN, project)
    assert can(OPERATOR, Action.OWN, project)
    actor.user.is_active = False
    assert not can(actor, Action.READ, project)


def test_nobody_is_no_actor() -> None:
    with pytest.raises(ValueError, match="nobody"):
        Actor(user=None)


def test_roles_are_read_once(django_assert_num_queries) -> None:
    project = make_project()
    actor = make_actor(project.team)
    with django_assert_num_queries(1):
        for _ in range(5):
            can(actor, Action.READ, project)


def test_a_team_belongs_to_who_made_it() -> None:
    actor = make_actor()
    team = services.create_team(actor, "acme", "Acme")
    assert can(actor, Action.OWN, team)
    assert list(queries.list_teams(actor)) == [team]
    assert queries.get_team(actor, "acme") == queries.get_team(actor, team.hex)
    with pytest.raises(NotFound):
        queries.get_team(make_actor(), "acme")
    with pytest.raises(NameTaken):
        services.create_team(make_actor(), "acme")


@pytest.mark.parametrize(
    "slug", ["a", "A-b", "a--b", "-ab", "ab-", "a_b", "a.b", "x" * 31, "api", "library", "", "ä1", "ab\n"]
)
def test_a_slug_that_names_nothing_safely_is_refused(slug: str) -> None:
    with pytest.raises(InvalidName):
        parse_slug(slug, what="Team")


def test_maintainers_set_developers_but_no_owners() -> None:
    team = make_team()
    owner, maintainer = make_actor(team, Role.OWNER), make_actor(team, Role.MAINTAINER)
    newcomer = make_actor(username="newcomer")
    memberships.set_member(maintainer, team, "newcomer", Role.DEVELOPER)
    assert newcomer.fresh().roles == {team.id: Role.DEVELOPER}
    with pytest.raises(NotAllowed):
        memberships.set_member(maintainer, team, "newcomer", Role.OWNER)
    with pytest.raises(NotAllowed):
        memberships.set_member(maintainer, team, owner.user.username, Role.VIEWER)
    memberships.set_member(owner, team, "newcomer", Role.OWNER)


def test_the_last_owner_stays() -> None:
    team = make_team()
    owner = make_actor(team, Role.OWNER)
    with pytest.raises(InvalidRequest, match="needs an owner"):
        memberships.remove_member(owner, team, owner.user.username)
    with pytest.raises(InvalidRequest, match="needs an owner"):
        memberships.set_member(owner, team, owner.user.username, Role.VIEWER)
    assert Membership.objects.get(team=team).role == Role.OWNER


def test_anybody_may_leave() -> None:
    team = make_team()
    viewer = make_actor(team, Role.VIEWER)
    memberships.remove_member(viewer, team, viewer.user.username)
    assert not Membership.objects.filter(team=team).exists()


def test_accounts_are_made_by_administrators_with_good_passwords() -> None:
    with pytest.raises(NotAllowed):
        services.create_user(make_actor(), "ada", "a very good password")
    with pytest.raises(InvalidRequest):
        services.create_user(OPERATOR, "ada", "ada")
    user = services.create_user(OPERATOR, "ada", "a very good password")
    assert user.check_password("a very good password")
    with pytest.raises(NameTaken):
        services.create_user(OPERATOR, "ada", "a very good password")
