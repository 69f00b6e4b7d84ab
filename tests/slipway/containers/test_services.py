from __future__ import annotations

from typing import Any

import pytest

from slipway.accounts.errors import InvalidRequest, NameTaken, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.containers import queries, services
from slipway.containers.errors import Busy, Removed, StillRunning
from slipway.containers.models import Container, State
from slipway.containers.requests import ContainerRequest
from slipway.nodes.errors import NoNode
from slipway.nodes.models import Node
from slipway.projects.models import Project
from tests.factories import image_config, make_actor, make_container, make_image, make_library, make_project
from tests.roads import RecordingRoad
from workers.errors import InvalidSpec, NoSuchImage, NotRunning
from workers.messages import RemoveContainer, RunContainer, StopContainer

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    project = make_project()
    make_image(project)
    return project


@pytest.fixture
def actor(project: Project) -> Any:
    return make_actor(project.team, Role.DEVELOPER)


def running(**fields: Any) -> Container:
    values = {"desired": State.RUNNING, "desired_generation": 1, "desired_run": 1}
    facts = {"observed": State.RUNNING, "observed_generation": 1, "run": 1}
    return make_container(**values, **facts, **fields)


def test_created_is_not_started(actor, project, road: RecordingRoad) -> None:
    container = services.create_container(actor, project, ContainerRequest(image="busybox", name="web"))
    assert (container.state, container.pending, road.take()) == (State.CREATED, False, [])
    assert container.spec["hostname"] == container.id[:12]
    assert len(container.id) == 64


def test_start_on_creation_sends_all_the_node_needs(actor, project, road: RecordingRoad) -> None:
    asked = ContainerRequest(
        image="busybox", command=("sh", "-c", "exit 3"), env=("A=b",), labels={"x": "y"}, start=True
    )
    container = services.create_container(actor, project, asked)
    (command,) = road.take()
    assert isinstance(command, RunContainer)
    assert (command.container, command.generation, command.run) == (container.id, 1, 1)
    assert command.project == project.slice
    assert command.spec.command == ("sh", "-c", "exit 3")
    assert command.spec.env == ("A=b",)
    assert command.spec.labels == {"x": "y"}
    assert command.spec.image_scope == project.hex
    assert container.pending
    assert Entry.objects.get(action="container.create").object_id == container.id


def test_an_image_of_the_library_is_run_from_there(road: RecordingRoad) -> None:
    library, project = make_library(), make_project()
    make_image(library)
    services.create_container(
        make_actor(project.team), project, ContainerRequest(image="busybox", start=True)
    )
    (command,) = road.take()
    assert isinstance(command, RunContainer)
    assert command.spec.image_scope == library.hex
    assert command.project.id == project.hex


def test_names_are_unique_among_unremoved(actor, project) -> None:
    asked = ContainerRequest(image="busybox", name="web")
    first = services.create_container(actor, project, asked)
    with pytest.raises(NameTaken):
        services.create_container(actor, project, asked)
    Container.objects.filter(pk=first.pk).update(removed_at=first.created_at)
    assert services.create_container(actor, project, asked).name == "web"


def test_a_container_nobody_named_gets_a_name(actor, project) -> None:
    names = {
        services.create_container(actor, project, ContainerRequest(image="busybox")).name for _ in range(5)
    }
    assert len(names) == 5


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (ContainerRequest(image="nothing"), NoSuchImage),
        (ContainerRequest(image="busybox", env=("A",)), InvalidSpec),
        (ContainerRequest(image="busybox", memory_bytes=1), InvalidSpec),
    ],
)
def test_a_refused_request_leaves_nothing(actor, project, road, asked: ContainerRequest, error) -> None:
    with pytest.raises(error):
        services.create_container(actor, project, asked)
    assert not Container.objects.exists()
    assert not Entry.objects.exists()
    assert road.take() == []


def test_an_image_without_a_command_needs_one(actor, project) -> None:
    make_image(project, "bare:latest", config=image_config(config={}))
    with pytest.raises(InvalidSpec, match="command"):
        services.create_container(actor, project, ContainerRequest(image="bare"))
    services.create_container(actor, project, ContainerRequest(image="bare", command=("sh",)))
    # An entrypoint given by the user makes the image's command void; an empty one alone is no command.
    with pytest.raises(InvalidSpec):
        services.create_container(actor, project, ContainerRequest(image="busybox", entrypoint=()))


def test_viewers_and_strangers_create_nothing(project) -> None:
    with pytest.raises(NotAllowed):
        services.create_container(
            make_actor(project.team, Role.VIEWER), project, ContainerRequest(image="busybox")
        )
    with pytest.raises(NotFound):
        services.create_container(make_actor(), project, ContainerRequest(image="busybox"))


def test_without_a_node_nothing_is_created() -> None:
    project = make_project(node=None)
    make_image(project)
    Node.objects.all().delete()
    with pytest.raises(NoNode, match="register_node"):
        services.create_container(make_actor(project.team), project, ContainerRequest(image="busybox"))
    assert not Container.objects.exists()


def test_start_of_an_exited_container_is_its_next_run(actor, project, road: RecordingRoad) -> None:
    container = make_container(
        project, observed=State.EXITED, observed_generation=3, desired_generation=3, run=2
    )
    services.start(actor, container)
    (command,) = road.take()
    assert isinstance(command, RunContainer)
    assert (command.generation, command.run) == (4, 3)


def test_start_of_a_starting_or_running_container_changes_nothing(
    actor, project, road: RecordingRoad
) -> None:
    container = make_container(project)
    services.start(actor, container)
    assert len(road.take()) == 1
    services.start(actor, container)
    services.start(actor, running(project=project))
    assert road.take() == []


def test_stop_is_a_generation_with_its_timeout(actor, project, road: RecordingRoad) -> None:
    container = running(project=project)
    row = services.stop(actor, container, timeout=3)
    assert road.take() == [StopContainer(container.id, 2, 3)]
    services.stop(actor, container)
    assert road.take() == []
    with pytest.raises(Busy):
        services.start(actor, row)
    with pytest.raises(InvalidRequest):
        services.stop(actor, row, timeout=-1)


def test_stop_of_what_does_not_run_changes_nothing(actor, project, road: RecordingRoad) -> None:
    services.stop(actor, make_container(project))
    services.stop(actor, make_container(project, observed=State.EXITED, run=1))
    assert road.take() == []


def test_a_start_on_its_way_can_be_stopped(actor, project, road: RecordingRoad) -> None:
    container = make_container(project)
    services.start(actor, container)
    services.stop(actor, container)
    assert [type(command) for command in road.take()] == [RunContainer, StopContainer]


def test_a_running_container_is_removed_by_force_only(actor, project, road: RecordingRoad) -> None:
    container = running(project=project)
    with pytest.raises(StillRunning):
        services.remove(actor, container)
    row = services.remove(actor, container, force=True)
    assert (row.state, row.observed) == (State.REMOVING, State.RUNNING)
    assert road.take() == [RemoveContainer(container.id, 2)]
    services.remove(actor, container)
    assert road.take() == []
    with pytest.raises(Removed):
        services.start(actor, container)


def test_a_wish_leaves_the_facts_alone(actor, project) -> None:
    container = running(project=project)
    stale = Container.objects.get(pk=container.pk)
    Container.objects.filter(pk=container.pk).update(exit_code=7)
    services.stop(actor, stale)
    container.refresh_from_db()
    assert (container.exit_code, container.desired) == (7, State.EXITED)


def test_kill_of_what_does_not_run_is_refused(actor, project) -> None:
    with pytest.raises(NotRunning):
        services.kill(actor, make_container(project), "TERM")
    with pytest.raises(InvalidSpec):
        services.kill(actor, running(project=project), "NOPE")
    with pytest.raises(NotAllowed):
        services.kill(make_actor(project.team, Role.VIEWER), running(project=project))


def test_a_broker_that_is_away_loses_no_wish(actor, project, road: RecordingRoad) -> None:
    road.is_down = True
    container = services.create_container(actor, project, ContainerRequest(image="busybox", start=True))
    assert road.take() == []
    container.refresh_from_db()
    assert container.pending
    assert container.resend_at is not None


def test_containers_are_found_by_id_name_and_short_id(actor, project) -> None:
    container = make_container(project, name="web", id="ab" * 32)
    for text in (container.id, "web", "ababab"):
        assert queries.get_container(actor, text, project) == container
    assert queries.get_container(actor, container.id) == container
    for text in ("nothing", "abab", "cdcdcd"):
        with pytest.raises(NotFound):
            queries.get_container(actor, text, project)
    with pytest.raises(NotFound):
        queries.get_container(actor, container.id, make_project(project.team))
    with pytest.raises(NotFound):
        queries.get_container(make_actor(), container.id)


def test_a_removed_container_is_found_by_id_and_not_by_name(actor, project) -> None:
    container = make_container(project, name="web")
    Container.objects.update(removed_at=container.created_at)
    assert queries.get_container(actor, container.id, project) == container
    with pytest.raises(NotFound):
        queries.get_container(actor, "web", project)
    assert not queries.list_containers(actor, project).exists()
    assert queries.list_containers(actor, project, removed=True).count() == 1


def test_a_list_of_containers_costs_one_query(actor, project, django_assert_num_queries) -> None:
    for _ in range(5):
        make_container(project)
    queries.list_containers(actor, project)
    with django_assert_num_queries(1):
        rows = list(queries.list_containers(actor, project))
        assert {(row.project.path, row.node.name, row.image.short_id) for row in rows}
    with django_assert_num_queries(1):
        assert len(queries.list_containers(actor)) == 5
