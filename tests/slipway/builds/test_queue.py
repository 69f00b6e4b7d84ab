"""Builds in their queue: slots, shares, places, quotas, groups."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from slipway import drift, sweep
from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed
from slipway.builds import services
from slipway.builds.models import Build
from slipway.builds.queries import get_build, place
from slipway.builds.requests import BuildRequest
from slipway.jobs.models import Job, JobState
from slipway.jobs.scheduling import load, schedule
from slipway.jobs.weights import set_weight
from slipway.nodes.models import Node
from slipway.projects import ledger
from tests.factories import (
    make_actor,
    make_user,
)
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import (
    begin,
    create,
    loaded,
    sent,
    succeed,
    tell,
    text,
    world,
)
from workers.messages import (
    BuildImage,
    CancelJob,
    JobCancelled,
    JobSucceeded,
)

pytestmark = pytest.mark.django_db


def test_slots_are_shared_between_teams_and_places_are_what_happens(road: RecordingRoad) -> None:
    first, second = world(), world()
    busy = [create(road, first) for _ in range(4)]
    late = [create(road, second) for _ in range(2)]
    assert [each.build for each in sent(road)] == [busy[0].hex, busy[1].hex]
    waiting = list(Build.objects.select_related("job__node").filter(job__admitted_at=None))
    place(waiting)
    told = [build.pk for build in sorted(waiting, key=lambda build: build.job.position or 0)]
    assert {build.job.waits_for for build in waiting} == {"slot"}
    happened = []
    running = [busy[0], busy[1]]
    while running:
        succeed(begin(running.pop(0)))
        begun = [loaded(each) for each in sent(road)]
        running += begun
        happened += [build.pk for build in begun]
        active = Job.objects.filter(admitted_at__isnull=False, state__in=["queued", "running"]).count()
        assert active <= 2
    assert happened == told == [late[0].pk, busy[2].pk, late[1].pk, busy[3].pk]
    assert ledger.used(first[1].pk) == ledger.used(second[1].pk) == {}


def test_a_queue_of_many_projects_is_read_in_the_same_queries(
    road: RecordingRoad, django_assert_num_queries: Any
) -> None:
    def wish(count: int) -> None:
        for _ in range(count):
            services.create_build(*world(builds=1), text())

    wish(3)
    node = Node.objects.get()
    with CaptureQueriesContext(connection) as few:
        load(node, None)
    wish(12)
    with django_assert_num_queries(len(few)):
        load(node, None)
    Node.objects.update(facts={"slots": 20})
    assert schedule(node.pk) == 15
    actor, project = world(builds=1)
    for _ in range(2):
        services.create_build(actor, project, text())
    assert schedule(node.pk) == 1


def test_an_administrators_weight_counts(road: RecordingRoad) -> None:
    Node.objects.update_or_create(
        name="local", defaults={"facts": {"slots": 1}, "heartbeat_at": timezone.now()}
    )
    heavy, light = world(), world()
    for actor, project in (heavy, light):
        for _ in range(6):
            services.create_build(actor, project, text())
    with pytest.raises(NotAllowed):
        set_weight(heavy[0], heavy[1].team, 3)
    set_weight(Actor(user=make_user(is_staff=True)), heavy[1].team, 3)
    order = []
    for _ in range(8):
        (command,) = sent(road)
        build = loaded(command)
        order.append(build.project_id)
        succeed(build)
    assert order[1:].count(heavy[1].pk) == 5


def test_a_queue_says_what_it_waits_for(road: RecordingRoad) -> None:
    actor, project = world(builds=1)
    services.create_build(actor, project, text())
    second = services.create_build(actor, project, text())
    road.take()
    assert get_build(actor, project, "2").job.waits_for == "quota"
    Node.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert get_build(actor, project, "2").job.waits_for == "node"
    assert second.job.admitted_at is None


def test_nothing_is_let_go_to_a_node_that_is_away(road: RecordingRoad) -> None:
    actor, project = world()
    Node.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    services.create_build(actor, project, text())
    assert sent(road) == []
    Node.objects.update(heartbeat_at=timezone.now())
    assert sweep.admit_jobs(timezone.now()) == 1
    assert len(sent(road)) == 1


def test_the_latest_of_a_group_takes_the_place_of_those_that_wait(road: RecordingRoad) -> None:
    actor, project = world()
    group = BuildRequest(options=text().options, group="web@main")
    running, waits, newest = (create(road, (actor, project), group) for _ in range(3))
    assert [each.build for each in sent(road)] == [running.hex]
    rows = {build.number: build for build in Build.objects.select_related("job")}
    assert (rows[1].state, rows[2].state, rows[3].state) == ("queued", "cancelled", "queued")
    assert rows[2].job.cause["code"] == "BUILD_SUPERSEDED"
    running = begin(running)
    assert get_build(actor, project, "3").job.waits_for == "lock"
    succeed(running)
    assert [each.build for each in sent(road)] == [newest.hex]
    assert waits.pk == rows[2].pk


def test_a_build_let_go_but_not_begun_says_what_took_its_place(road: RecordingRoad) -> None:
    actor, project = world()
    group = BuildRequest(options=text().options, group="web@main")
    older, newest = (create(road, (actor, project), group) for _ in range(2))
    assert [type(each) for each in road.take()] == [BuildImage, CancelJob]
    older = tell(older, JobCancelled(older.job.hex))
    assert older.job.state == JobState.CANCELLED
    assert older.job.cause["facts"] == {"build": newest.number, "group": "web@main"}  # type: ignore[index]
    road.commit()
    create(road, (actor, project), group)
    newest.job.refresh_from_db()
    assert newest.job.cause["code"] == "BUILD_SUPERSEDED"  # type: ignore[index]
    assert succeed(begin(newest)).job.cause is None  # it was done before it heard of it


def test_a_build_whose_turn_does_not_come_is_given_up() -> None:
    actor, project = world()
    for _ in range(3):
        services.create_build(actor, project, text())
    assert sweep.expire_jobs(timezone.now() + timedelta(hours=7)) >= 1
    build = get_build(actor, project, "3")
    assert (build.state, build.job.cause["code"]) == ("failed", "QUEUE_TIMEOUT")  # type: ignore[index]


@pytest.mark.parametrize("seed", range(5))
def test_any_history_keeps_slots_and_ends_empty(road: RecordingRoad, seed: int) -> None:
    chance = random.Random(seed)
    worlds = [world(builds=chance.choice([1, 2, 50])) for _ in range(3)]
    running: dict[str, Build] = {}
    for _ in range(40):
        act = chance.random()
        if act < 0.5:
            services.create_build(
                *chance.choice(worlds),
                BuildRequest(options=text().options, group=chance.choice(["", "", "g"])),
            )
        elif act < 0.6 and Job.objects.filter(state=JobState.QUEUED).exists():
            build = Build.objects.filter(job__state=JobState.QUEUED).order_by("?").first()
            assert build is not None
            services.cancel(make_actor(build.project.team), build)
        elif running:
            build = running.pop(chance.choice(sorted(running)))
            tell(build, chance.choice([JobSucceeded, JobCancelled])(build.job.hex))
        for command in road.take():
            if isinstance(command, BuildImage):
                running[command.build] = loaded(command)
            elif isinstance(command, CancelJob):
                found = Build.objects.select_related("job__node").get(job=command.job)
                running.pop(found.hex, None)
                tell(found, JobCancelled(command.job))
        active = Job.objects.filter(admitted_at__isnull=False, state__in=["queued", "running"])
        assert active.count() <= 2
    schedule(Node.objects.get().pk)
    while commands := [
        *running.values(),
        *(Build.objects.select_related("job__node").get(pk=each.build) for each in sent(road)),
    ]:
        running.clear()
        for build in commands:
            succeed(build)
    assert not Job.objects.filter(state__in=["queued", "running"]).exists()
    assert drift.reconcile(dry_run=True) == 0
