"""Builds: queued fairly, cancelled, retried, superseded; their steps as nodes tell; secrets nowhere."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway import drift, events, sweep
from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.builds import services
from slipway.builds.errors import ContextGone, InvalidBuild, SecretsNeeded, Unsupported
from slipway.builds.models import Build, BuildState
from slipway.builds.queries import get_build, list_builds, place
from slipway.builds.requests import BuildRequest, Docker
from slipway.catalog.credentials import set_credential
from slipway.jobs.errors import JobActive
from slipway.jobs.models import Job, JobState
from slipway.jobs.scheduling import schedule
from slipway.jobs.weights import set_weight
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.models import Project, Resource
from slipway.projects.quotas import set_limit
from tests.factories import (
    digest,
    make_actor,
    make_image,
    make_library,
    make_project,
    make_team,
    make_user,
)
from tests.roads import RecordingRoad
from workers.errors import InvalidReference
from workers.messages import (
    BuildDropped,
    BuildFinished,
    BuildImage,
    BuildOptions,
    BuildProgressed,
    BuildSource,
    CancelJob,
    DropBuild,
    Failure,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    PruneBuildCache,
    StepFacts,
    encode,
)

pytestmark = pytest.mark.django_db
CANARY = "canary-5ecret-0f-a-build"


def text(**options: Any) -> BuildRequest:
    return BuildRequest(options=BuildOptions(dockerfile_text="FROM busybox\n", **options))


def create(road: RecordingRoad, who: tuple[Actor, Project], request: BuildRequest | None = None) -> Build:
    """Committed, so that it was let go if there is a slot."""
    build = services.create_build(*who, request or text())
    road.commit()
    return build


def git(url: str, **more: Any) -> BuildRequest:
    return BuildRequest(source=BuildSource(kind="git", url=url, **more))


def loaded(command: BuildImage) -> Build:
    return Build.objects.select_related("job__node").get(pk=command.build)


def upload(size: int = 10, **options: Any) -> BuildRequest:
    source = BuildSource(kind="upload", upload=digest("context"))
    return BuildRequest(source=source, options=BuildOptions(**options), size=size)


def tell(build: Build, event: Any) -> Build:
    events.apply(event, build.job.node, timezone.now())
    return Build.objects.select_related("job__node", "project__team").get(pk=build.pk)


def world(builds: int = 50, **fields: Any) -> tuple[Actor, Project]:
    project = make_project(**fields)
    set_limit(Actor(user=make_user(is_staff=True)), project, Resource.BUILDS, builds)
    return make_actor(project.team), project


def sent(road: RecordingRoad) -> list[BuildImage]:
    return [each for each in road.take() if isinstance(each, BuildImage)]


def begin(build: Build) -> Build:
    return tell(build, JobStarted(build.job.hex))


def succeed(build: Build) -> Build:
    return tell(build, JobSucceeded(build.job.hex))


# --------------------------------------------------------------------------- asking


def test_a_build_carries_all_that_its_node_needs(road: RecordingRoad) -> None:
    actor, project = world()
    image = make_image(project, "base:1")
    official = make_image(make_library(), "busybox:latest")
    build = services.create_build(
        actor,
        project,
        text(tags=("Web".lower(), "web:latest", "web:2"), args={"A": "1"}, secrets={"key": CANARY}),
    )
    (command,) = sent(road)
    assert (command.job, command.build, command.attempt, command.scope) == (
        build.job.hex,
        build.hex,
        1,
        project.hex,
    )
    assert command.options.tags == ("web:latest", "web:2")
    assert (command.options.args, command.options.secrets) == ({"A": "1"}, {"key": CANARY})
    assert command.local_images == {"base:1": image.image_id}
    assert command.library_images == {"busybox:latest": official.image_id}
    assert command.limits.memory_bytes == 2 << 30
    assert (build.number, build.title, build.state) == (1, "web:latest", BuildState.QUEUED)
    assert Entry.objects.filter(action="build.create", project_id=project.pk).exists()


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (BuildRequest(), InvalidBuild),
        (BuildRequest(options=BuildOptions(dockerfile_text="  \n")), InvalidBuild),
        (BuildRequest(source=BuildSource(kind="git", url="")), InvalidBuild),
        (BuildRequest(source=BuildSource(kind="git", url="git@example.org:a/b.git")), InvalidBuild),
        (BuildRequest(source=BuildSource(kind="git", url="https://h/a", subdirectory="../x")), InvalidBuild),
        (
            BuildRequest(source=BuildSource(kind="git", url="https://h/a", ref="--upload-pack=x")),
            InvalidBuild,
        ),
        (text(squash=True), Unsupported),
        (text(dockerfile="../Dockerfile"), InvalidBuild),
        (text(network="host"), InvalidBuild),
        (text(output="oci"), InvalidBuild),
        (text(platform="linux"), InvalidBuild),
        (text(extra_hosts=("name",)), InvalidBuild),
        (text(secrets={"a/b": "x"}), InvalidBuild),
        (text(tags=("Not A Name",)), InvalidReference),
        (text(tags=(f"web@{digest('x')}",)), InvalidReference),
        (BuildRequest(options=BuildOptions(dockerfile_text="FROM a"), timeout=0), InvalidBuild),
        (
            BuildRequest(options=BuildOptions(dockerfile_text="FROM a"), docker=Docker(memory=1 << 50)),
            InvalidBuild,
        ),
        (
            BuildRequest(options=BuildOptions(dockerfile_text="FROM a"), docker=Docker(squash=True)),
            Unsupported,
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(request_: BuildRequest, error: type[Exception]) -> None:
    actor, project = world()
    with pytest.raises(error):
        services.create_build(actor, project, request_)
    assert not Build.objects.exists()
    assert not Job.objects.exists()


def test_dockers_switches_that_do_nothing_are_noted() -> None:
    actor, project = world()
    docker = Docker(
        memswap=1 << 30, cpu_shares=512, cpuset_cpus="0", rm=False, memory=64 << 20, cpu_quota=50_000
    )
    build = services.create_build(actor, project, BuildRequest(options=text().options, docker=docker))
    assert [note.partition(":")[0] for note in build.notes] == ["memswap", "cpushares", "cpusetcpus", "rm"]
    assert build.limits == {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 4096}


def test_an_address_is_taken_apart_and_its_password_kept_out_of_it() -> None:
    actor, project = world()
    url = f"https://me:{CANARY}@example.org/team/web.git#v1:app/server"
    build = services.create_build(actor, project, BuildRequest(source=BuildSource(kind="git", url=url)))
    assert build.source == {
        "url": "https://example.org/team/web.git",
        "ref": "v1",
        "subdirectory": "app/server",
        "username": "me",
    }
    assert build.title == "web"


def test_who_may_look_may_not_build_and_strangers_see_nothing() -> None:
    actor, project = world()
    build = services.create_build(actor, project, text())
    viewer, stranger = make_actor(project.team, Role.VIEWER), make_actor(make_team())
    assert get_build(viewer, project, "1") == build
    for act in (
        lambda: services.create_build(viewer, project, text()),
        lambda: services.cancel(viewer, build),
    ):
        with pytest.raises(NotAllowed):
            act()
    for act in (
        lambda: list_builds(stranger, project),
        lambda: services.create_build(stranger, project, text()),
    ):
        with pytest.raises(NotFound):
            act()


# --------------------------------------------------------------------------- the queue


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


# --------------------------------------------------------------------------- progress


def steps(*states: str) -> tuple[StepFacts, ...]:
    return tuple(
        StepFacts(id=number, stage="web", name=f"[{number}]", state=state, started_at=1.0)
        for number, state in enumerate(states)
    )


def progress(build: Build, attempt: int, *states: str) -> Build:
    return tell(build, BuildProgressed(build.job.hex, build.hex, attempt, steps(*states)))


def finished(build: Build, attempt: int, word: str) -> BuildFinished:
    result = digest(word), digest("manifest")
    return BuildFinished(build.job.hex, build.hex, attempt, *result, warnings=("W",))


def states(build: Build) -> list[str]:
    return [step.state for step in build.steps.all()]


def test_steps_are_the_record_and_a_lower_attempt_changes_nothing() -> None:
    actor, project = world()
    build = begin(services.create_build(actor, project, text()))
    build = progress(build, 1, "done", "running", "waiting")
    assert states(build) == ["done", "running", "waiting"]
    build = progress(build, 2, "cached", "running", "waiting")
    build = progress(build, 1, "done", "failed", "waiting")
    assert states(build) == ["cached", "running", "waiting"]
    assert build.attempt == 2


def test_a_failed_build_says_why_and_what_never_ended() -> None:
    actor, project = world()
    build = begin(services.create_build(actor, project, text(secrets={"key": CANARY})))
    assert build.sealed
    progress(build, 1, "done", "failed", "running", "waiting")
    cause = Failure("BUILD_STEP_FAILED", "exit 1", {"line": 3, "file": "Dockerfile"})
    build = tell(build, JobFailed(build.job.hex, cause))
    assert (build.state, build.job.cause["facts"]["line"]) == ("failed", 3)  # type: ignore[index]
    assert states(build) == ["done", "failed", "cancelled", "skipped"]
    assert build.sealed == ""


def test_a_result_is_kept_once() -> None:
    actor, project = world()
    build = begin(services.create_build(actor, project, text(tags=("web",))))
    tell(
        build,
        BuildFinished(build.job.hex, build.hex, 1, digest("image"), digest("manifest"), warnings=("W",)),
    )
    build = succeed(build)
    assert (build.state, build.image_id, build.warnings) == ("succeeded", digest("image"), ["W"])
    assert tell(build, BuildFinished(build.job.hex, build.hex, 9, digest("other"))).image_id == digest(
        "image"
    )


def test_a_silent_worker_is_noticed_and_the_next_attempt_fences_it(road: RecordingRoad) -> None:
    actor, project = world()
    build = begin(create(road, (actor, project), text(secrets={"key": CANARY})))
    road.take()
    assert sweep.resend_jobs(timezone.now() + timedelta(seconds=9)) == 0
    assert sweep.resend_jobs(timezone.now() + timedelta(seconds=11)) == 1
    (command,) = sent(road)
    assert (command.attempt, command.options.secrets) == (2, {"key": CANARY})
    tell(build, JobProgressed(build.job.hex, "on"))
    assert sweep.resend_jobs(timezone.now() + timedelta(seconds=9)) == 0
    assert get_build(actor, project, "1").job.attempt == 2


def test_nothing_is_attempted_again_while_events_are_unread(road: RecordingRoad) -> None:
    actor, project = world()
    begin(create(road, (actor, project), text()))
    road.take()
    Node.objects.update(facts={"last_seq": 7})
    sweep.resend_jobs(timezone.now() + timedelta(seconds=11))
    assert sent(road) == []


def test_a_running_build_is_cancelled_by_its_nodes_answer(road: RecordingRoad) -> None:
    actor, project = world()
    build = begin(create(road, (actor, project), text()))
    build = progress(build, 1, "running")
    road.take()
    services.cancel(actor, build)
    assert road.take() == [CancelJob(build.job.hex)]
    build = tell(build, JobCancelled(build.job.hex))
    assert (build.state, states(build)) == ("cancelled", ["cancelled"])


# --------------------------------------------------------------------------- once more


def test_a_retry_is_a_new_build_and_wants_the_secrets_again(road: RecordingRoad) -> None:
    actor, project = world()
    build = services.create_build(actor, project, text(tags=("web",), secrets={"key": CANARY}))
    with pytest.raises(JobActive):
        services.retry(actor, build)
    build = tell(build, JobFailed(build.job.hex, Failure("X", "no")))
    with pytest.raises(SecretsNeeded):
        services.retry(actor, build)
    road.take()
    made = services.retry(actor, build, no_cache=True, secrets={"key": "other", "stray": "x"})
    (command,) = sent(road)
    assert (made.number, made.retry_of, command.options.no_cache) == (2, build, True)
    assert command.options.secrets == {"key": "other"}


def test_a_kept_context_counts_and_goes_with_its_retry() -> None:
    actor, project = world()
    build = services.create_build(actor, project, upload(100), context_kept=True)
    assert ledger.used(project.pk)["disk_bytes"] == 100
    build = succeed(build)
    assert ledger.used(project.pk) == {"disk_bytes": 100}
    made = services.retry(actor, build)
    build.refresh_from_db()
    assert (build.context_kept, made.context_kept) == (False, True)
    with pytest.raises(ContextGone):
        services.retry(actor, build)
    succeed(made)
    assert drift.reconcile(dry_run=True) == 0
    assert services.forget_contexts(timezone.now() + timedelta(days=1)) == 1
    assert ledger.used(project.pk) == {}


def test_only_the_newest_contexts_are_kept() -> None:
    actor, project = world()
    builds = [succeed(services.create_build(actor, project, upload(), context_kept=True)) for _ in range(7)]
    assert services.surplus(project) == [builds[1], builds[0]]
    services.let_go(services.surplus(project))
    assert services.surplus(project) == []


def test_the_cache_is_pruned_by_a_job(road: RecordingRoad) -> None:
    actor, project = world()
    job = services.prune(actor, project)
    assert road.take() == [PruneBuildCache(job.hex, project.hex)]
    with pytest.raises(NotAllowed):
        services.prune(make_actor(project.team, Role.VIEWER), project)


# --------------------------------------------------------------------------- secrets


def test_a_secret_lies_nowhere_in_clear(road: RecordingRoad, django_db_blocker: Any) -> None:
    from django.db import connection

    actor, project = world()
    source = BuildSource(kind="git", url=f"https://me:{CANARY}@example.org/x.git")
    request = BuildRequest(source=source, options=BuildOptions(secrets={"key": CANARY}))
    build = services.create_build(actor, project, request)
    (command,) = sent(road)
    assert (command.source.password, command.options.secrets) == (CANARY, {"key": CANARY})
    assert CANARY in encode(command)

    def everywhere() -> str:
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
            found = []
            for table in tables:
                cursor.execute(f'SELECT * FROM "{table}"')
                found += [repr(row) for row in cursor.fetchall()]
        return "\n".join(found)

    assert build.hex in everywhere()
    assert CANARY not in everywhere()
    begin(build)
    tell(build, JobFailed(build.job.hex, Failure("X", "no")))
    assert CANARY not in everywhere()
    assert Build.objects.get().sealed == ""


def test_an_account_of_the_project_opens_its_git_host(road: RecordingRoad) -> None:
    actor, project = world()
    set_credential(actor, project, "git.example.org", "me", CANARY)
    create(road, (actor, project), git("https://git.example.org/team/web.git"))
    create(road, (actor, project), git("https://other.example.org/team/web.git"))
    first, second = sent(road)
    assert (first.source.username, first.source.password) == ("me", CANARY)
    assert (second.source.username, second.source.password) == (None, None)
    assert first.access["git.example.org"].password == CANARY
    assert CANARY not in Job.objects.get(pk=first.job).command


def test_old_builds_are_dropped_on_their_node(road: RecordingRoad) -> None:
    actor, project = world()
    build = succeed(create(road, (actor, project)))
    road.take()
    later = timezone.now() + timedelta(days=15)
    Node.objects.update(heartbeat_at=later)
    assert services.drop_old(later) == 1
    assert road.take() == [DropBuild(build.hex)]
    tell(build, BuildDropped(build.hex))
    assert services.drop_old(later + timedelta(days=1)) == 0
