"""Quotas: reserved with the request, released once, never exceeded, and asked for."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway import events
from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.catalog.services import import_image
from slipway.containers.models import Container
from slipway.containers.requests import ContainerRequest
from slipway.containers.services import create_container, remove, start, stop
from slipway.drift import reconcile
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded, RequestDecided, RequestPending
from slipway.projects.limits import DEFAULTS, limits_of
from slipway.projects.models import Project, Reservation, Resource
from slipway.projects.quotas import ask, decide, set_limit
from slipway.projects.usage import usage
from tests.factories import (
    digest,
    make_actor,
    make_container,
    make_image,
    make_library,
    make_project,
    make_user,
)
from workers.errors import SlipwayError
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Failure,
    ImageImported,
    ImageRemoved,
    LayerFacts,
)

pytestmark = pytest.mark.django_db


def administrator() -> Actor:
    return Actor(user=make_user(is_staff=True))


def world() -> tuple[Actor, Project]:
    project = make_project()
    make_image(project, size=0)
    return make_actor(project.team), project


def request(**fields: Any) -> ContainerRequest:
    return ContainerRequest("busybox", memory_bytes=100 << 20, cpu_millis=500, **fields)


def tell(row: Container, kind: Any, *more: Any, **fields: Any) -> None:
    row.refresh_from_db()
    events.apply(kind(row.id, row.desired_generation, *more, **fields), row.node, timezone.now())


def started(row: Container) -> None:
    row.refresh_from_db()
    tell(row, ContainerStarted, row.desired_run, pid=1, address="10.0.0.2", started_at=1.0)


def exited(row: Container) -> None:
    row.refresh_from_db()
    tell(row, ContainerExited, max(row.run, 1), 0, oom_killed=False, finished_at=2.0)


def failed(row: Container) -> None:
    row.refresh_from_db()
    tell(row, ContainerFailed, row.desired_run, Failure("NO_SPACE", "full"))


def removed(row: Container) -> None:
    tell(row, ContainerRemoved)


def test_a_container_holds_its_place_and_only_a_running_one_cpu_and_memory() -> None:
    actor, project = world()
    row = create_container(actor, project, request(start=True))
    assert ledger.used(project.pk) == {"containers": 1, "cpu_millis": 500, "memory_bytes": 100 << 20}
    started(row)
    assert ledger.used(project.pk)["cpu_millis"] == 500
    exited(row)
    assert ledger.used(project.pk) == {"containers": 1}
    start(actor, row)
    assert ledger.used(project.pk)["cpu_millis"] == 500
    failed(row)
    assert ledger.used(project.pk) == {"containers": 1}
    remove(actor, row)
    assert ledger.used(project.pk) == {"containers": 1}
    removed(row)
    removed(row)
    assert ledger.used(project.pk) == {}


@pytest.mark.parametrize("resource", [Resource.CONTAINERS, Resource.CPU, Resource.MEMORY])
def test_over_a_limit_nothing_is_made_and_the_answer_says_all(resource: Resource) -> None:
    actor, project = world()
    first = create_container(actor, project, request(start=True))
    now = ledger.used(project.pk)
    set_limit(administrator(), project, resource, now[resource])
    with pytest.raises(QuotaExceeded) as error:
        create_container(actor, project, request(start=True))
    facts = error.value.facts
    limit = now[resource]
    assert (facts["resource"], facts["limit"], facts["used"]) == (resource.value, limit, limit)
    assert facts["asked"] == now[resource]
    assert str(facts["request_url"]).endswith(f"/{project.path}/quota-requests")
    assert Container.objects.filter(project=project).count() == 1
    assert ledger.used(project.pk) == now
    remove(actor, first, force=True)
    removed(first)
    create_container(actor, project, request(start=True))


def test_a_start_is_refused_when_others_have_taken_the_cpu() -> None:
    actor, project = world()
    waiting = create_container(actor, project, request())
    create_container(actor, project, request(start=True))
    set_limit(administrator(), project, Resource.CPU, 900)
    with pytest.raises(QuotaExceeded):
        start(actor, waiting)
    waiting.refresh_from_db()
    assert waiting.desired_generation == 0


def test_a_failed_create_holds_nothing() -> None:
    actor, project = world()
    create_container(actor, project, request(name="web"))
    with pytest.raises(SlipwayError):
        create_container(actor, project, request(name="web"))
    assert ledger.used(project.pk) == {"containers": 1}


def test_a_stop_is_never_refused_for_want_of_quota() -> None:
    actor, project = world()
    row = make_container(project, observed="running", run=1, observed_generation=1, desired_generation=1)
    set_limit(administrator(), project, Resource.CPU, 0)
    stop(actor, row)
    row.refresh_from_db()
    assert row.desired == "exited"


def test_images_count_what_they_unpack_to_and_imports_their_archive() -> None:
    actor, project = world()
    make_actor(project.team)
    job = import_image(actor, project, digest("archive"), repository="web", size=1000)
    assert ledger.used(project.pk) == {"disk_bytes": 1000, "builds": 1}
    layers = (LayerFacts(digest("l"), digest("d"), 500, 4000),)
    event = ImageImported(job.hex, project.hex, digest("i"), digest("m"), "{}", layers, ("web:latest",))
    for _ in range(2):
        events.apply(event, job.node, timezone.now())
    assert ledger.used(project.pk)["disk_bytes"] == 5000
    set_limit(administrator(), project, Resource.DISK, 5500)
    with pytest.raises(QuotaExceeded):
        import_image(actor, project, digest("archive"), repository="web", size=1000)
    events.apply(ImageRemoved(job.hex, project.hex, digest("i")), job.node, timezone.now())
    assert ledger.used(project.pk)["disk_bytes"] == 1000


def test_a_limit_is_the_projects_else_the_teams_else_the_default() -> None:
    project = make_project()
    admin = administrator()
    assert limits_of(project) == dict(DEFAULTS)
    set_limit(admin, project.team, Resource.CONTAINERS, 7)
    assert limits_of(project)[Resource.CONTAINERS] == 7
    set_limit(admin, project, Resource.CONTAINERS, 3)
    assert limits_of(project)[Resource.CONTAINERS] == 3
    set_limit(admin, project, Resource.CONTAINERS, None)
    assert limits_of(project)[Resource.CONTAINERS] == 7
    assert set(limits_of(make_library()).values()) == {None}
    last = Entry.objects.filter(action="limit.set").order_by("-seq")[0]
    assert (last.before, last.after) == ({"containers": 3}, {"containers": None})


def test_only_administrators_set_limits() -> None:
    actor, project = world()
    with pytest.raises(NotAllowed):
        set_limit(actor, project, Resource.CPU, 1)


def test_a_member_asks_and_an_administrator_approves() -> None:
    actor, project = world()
    asked = ask(actor, project, Resource.CONTAINERS, 500, "a fair")
    with pytest.raises(RequestPending):
        ask(actor, project, Resource.CONTAINERS, 600)
    with pytest.raises(NotAllowed):
        decide(actor, asked, approve=True)
    assert decide(administrator(), asked, approve=True, note="have fun").state == "approved"
    assert limits_of(project)[Resource.CONTAINERS] == 500
    with pytest.raises(RequestDecided):
        decide(administrator(), asked, approve=False)
    actions = list(Entry.objects.order_by("seq").values_list("action", flat=True))
    assert actions == ["quota.request", "limit.set", "quota.approve"]


def test_a_declined_request_changes_nothing() -> None:
    actor, project = world()
    asked = ask(actor, project, Resource.CPU, 1_000_000)
    decide(administrator(), asked, approve=False, note="no")
    assert limits_of(project) == dict(DEFAULTS)
    assert Entry.objects.filter(action="quota.decline").exists()


@pytest.mark.parametrize("amount", [0, -1, DEFAULTS[Resource.CONTAINERS], 1 << 61])
def test_less_than_there_is_cannot_be_asked_for(amount: int) -> None:
    actor, project = world()
    with pytest.raises(InvalidRequest):
        ask(actor, project, Resource.CONTAINERS, amount)


def test_a_viewer_asks_for_nothing() -> None:
    project = make_project()
    with pytest.raises(NotAllowed):
        ask(make_actor(project.team, Role.VIEWER), project, Resource.CONTAINERS, 500)


# --------------------------------------------------------------------------- balance


STEPS = ("create", "create and start", "start", "stop", "started", "exited", "failed", "remove", "removed")

FACTS = {"started": started, "exited": exited, "failed": failed}


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=25))
def test_after_any_lifecycles_the_ledger_is_what_the_rows_say_and_in_the_end_nothing(
    steps: list[tuple[str, int]],
) -> None:
    actor, project = world()
    rows: list[Container] = []
    for step, number in steps:
        _take(step, rows[number % len(rows)] if rows else None, actor, project, rows)
        assert reconcile(dry_run=True) == 0, step
    for row in rows:
        remove(actor, row, force=True)
        removed(row)
    assert not Reservation.objects.filter(project=project).exists()


def _take(step: str, row: Container | None, actor: Actor, project: Project, rows: list[Container]) -> None:
    if step.startswith("create"):
        rows.append(create_container(actor, project, request(start=step != "create")))
    elif row is not None:
        row.refresh_from_db()
        with contextlib.suppress(SlipwayError):
            _act(step, row, actor)


def _act(step: str, row: Container, actor: Actor) -> None:
    wishes = {"start": start, "stop": stop, "remove": lambda actor, row: remove(actor, row, force=True)}
    if step in wishes:
        wishes[step](actor, row)
    elif step == "removed" and row.desired == "removing":
        removed(row)
    elif row.desired_run and step in FACTS:
        FACTS[step](row)


def test_drift_is_found_told_and_put_right() -> None:
    actor, project = world()
    row = create_container(actor, project, request(start=True))
    Reservation.objects.filter(resource=Resource.CPU).delete()
    Reservation.objects.create(
        project=project, resource=Resource.PORTS, amount=3, holder_kind="container", holder_id="f" * 64
    )
    assert reconcile(dry_run=True) == 2
    assert reconcile() == 2
    assert reconcile() == 0
    assert ledger.used(project.pk)["cpu_millis"] == 500
    assert row.project_id == project.pk


@pytest.mark.django_db(transaction=True)
def test_parallel_creates_never_exceed_the_limit() -> None:
    actor, project = world()
    set_limit(administrator(), project, Resource.CONTAINERS, 5)
    made, refused, other = [], [], []
    barrier = threading.Barrier(8)

    def create() -> None:
        barrier.wait(10)
        try:
            for _ in range(2):
                try:
                    made.append(create_container(actor, project, request(start=True)))
                except QuotaExceeded as error:
                    refused.append(error)
        except Exception as error:  # noqa: BLE001  # whatever it was, the test must hear of it
            other.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert other == []
    assert (len(made), len(refused)) == (5, 11)
    assert ledger.used(project.pk)["containers"] == Container.objects.filter(project=project).count() == 5


def test_usage_says_what_is_left() -> None:
    actor, project = world()
    set_limit(administrator(), project, Resource.CONTAINERS, 4)
    for _ in range(3):
        create_container(actor, project, request())
    (use,) = [each for each in usage(project) if each.resource == Resource.CONTAINERS]
    assert (use.used, use.limit, use.free, use.percent, use.is_tight) == (3, 4, 1, 75, False)
