from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

import pytest
from django.db import connection

from slipway.accounts.actors import OPERATOR
from slipway.accounts.errors import InvalidName, NameTaken, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.projects import queries, services
from slipway.projects.errors import AddressPlanFull
from slipway.projects.models import Project
from tests.factories import make_actor, make_project, make_team

pytestmark = pytest.mark.django_db


def test_every_project_has_its_own_uids_and_subnet(settings) -> None:
    team = make_team()
    actor = make_actor(team)
    first, second = (services.create_project(actor, team, slug) for slug in ("shop", "blog"))
    assert (first.uid_base, second.uid_base) == (1_000_000, 1_065_536)
    assert (first.subnet, second.subnet) == ("10.87.0.0/24", "10.87.1.0/24")
    assert first.slice.uid_count == 65_536
    assert Entry.objects.filter(action="project.create", object_name=first.path).exists()


def test_a_project_is_made_by_maintainers_only() -> None:
    team = make_team()
    with pytest.raises(NotAllowed):
        services.create_project(make_actor(team, Role.DEVELOPER), team, "shop")
    with pytest.raises(NotFound):
        services.create_project(make_actor(), team, "shop")
    with pytest.raises(InvalidName):
        services.create_project(make_actor(team), team, "Shop")
    assert not Project.objects.exists()


def test_a_name_is_taken_within_its_team_only() -> None:
    team, other = make_team(), make_team()
    services.create_project(OPERATOR, team, "shop")
    services.create_project(OPERATOR, other, "shop")
    with pytest.raises(NameTaken):
        services.create_project(OPERATOR, team, "shop")


def test_a_full_address_plan_is_said(settings) -> None:
    settings.SLIPWAY_SUBNETS = ip_network("10.99.0.0/23")
    team = make_team()
    for slug in ("one", "two"):
        services.create_project(OPERATOR, team, slug)
    with pytest.raises(AddressPlanFull, match="SLIPWAY_SUBNETS"):
        services.create_project(OPERATOR, team, "three")


def test_projects_of_other_teams_do_not_exist() -> None:
    project, stranger = make_project(), make_actor()
    member = make_actor(project.team, Role.VIEWER)
    assert queries.get_project(member, project.hex) == project
    assert queries.get_project_by_path(member, project.team.slug, project.slug) == project
    assert list(queries.list_projects(member)) == [project]
    assert not queries.list_projects(stranger).exists()
    for asked in (project.hex, "no id", "0" * 32):
        with pytest.raises(NotFound):
            queries.get_project(stranger, asked)


def test_a_list_of_projects_costs_two_queries(django_assert_num_queries) -> None:
    team = make_team()
    actor = make_actor(team)
    for _ in range(5):
        make_project(team)
    with django_assert_num_queries(2):
        assert len([project.path for project in queries.list_projects(actor)]) == 5


def test_the_library_is_made_once() -> None:
    assert services.ensure_library() == services.ensure_library()
    assert Project.objects.get(library=True).path == "library/library"


@pytest.mark.django_db(transaction=True)
def test_projects_made_at_once_get_different_indexes() -> None:
    team = make_team()

    def make(slug: str) -> None:
        try:
            services.create_project(OPERATOR, team, slug)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, [f"project-{number}" for number in range(8)]))
    assert sorted(Project.objects.values_list("index", flat=True)) == list(range(8))
