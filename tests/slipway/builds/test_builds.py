"""Builds: asked for, repeated, and their secrets nowhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway import drift
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.builds import services
from slipway.builds.bodies import from_query
from slipway.builds.errors import ContextGone, InvalidBuild, SecretsNeeded, Unsupported
from slipway.builds.models import Build, BuildState
from slipway.builds.queries import get_build, list_builds
from slipway.builds.registries import Account
from slipway.builds.requests import BuildRequest, Docker
from slipway.catalog.credentials import set_credential
from slipway.errors import InvalidFields
from slipway.jobs.errors import JobActive
from slipway.jobs.models import Job
from slipway.nodes.models import Node
from slipway.projects import ledger
from tests.factories import (
    digest,
    make_actor,
    make_image,
    make_library,
    make_team,
)
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import (
    CANARY,
    begin,
    create,
    git,
    loaded,
    sent,
    succeed,
    tell,
    text,
    upload,
    world,
)
from workers.errors import InvalidReference
from workers.messages import (
    BuildDropped,
    BuildOptions,
    BuildSource,
    DropBuild,
    Failure,
    JobFailed,
    Limits,
    PruneBuildCache,
    encode,
)

pytestmark = pytest.mark.django_db


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
        (text(ulimits=("nofile",)), InvalidBuild),
        (text(ulimits=("nofile=2:1",)), InvalidBuild),
        (text(ulimits=("files=1",)), InvalidBuild),
        (replace(text(), registries={"no host": Account("me", "word")}), InvalidRequest),
        (replace(text(), registries={"example.org": Account("me", "")}), InvalidBuild),
        (text(output="oci"), InvalidBuild),
        (text(platform="linux"), InvalidBuild),
        (text(extra_hosts=("name",)), InvalidBuild),
        (text(secrets={"a/b": "x"}), InvalidBuild),
        # The node keeps uploads of all projects by their digest: nobody names one of them.
        (text(contexts={"x": digest("of another project")}), InvalidBuild),
        (text(contexts={"x": f" {digest('of another project')}"}), InvalidBuild),
        (text(contexts={"x": "https:///x.git"}), InvalidBuild),
        (text(contexts={"x": "https://[x"}), InvalidBuild),
        # Nothing but git would take it, and provenance would tell it.
        (text(contexts={"x": "https://me:word@example.org/x.tar"}), InvalidBuild),
        (text(contexts={"x": "a\nb"}), InvalidBuild),
        # Caches of other kinds are opened by keys, which nobody would seal.
        (text(cache_to=("type=s3,bucket=b,secret_access_key=x",)), InvalidBuild),
        (text(cache_from=("type=registry,ref=me:word@example.org/x",)), InvalidReference),
        (BuildRequest(source=BuildSource(kind="git", url="https://[h/a")), InvalidBuild),
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


def test_a_secret_too_short_to_be_taken_out_of_logs_is_noted_by_name() -> None:
    actor, project = world()
    options = replace(text().options, secrets={"pin": "123", "umlauts": "äö", "token": "1234"})
    build = services.create_build(actor, project, BuildRequest(options=options))
    assert [note.partition(":")[0] for note in build.notes] == ["secret pin"]


def test_secrets_have_a_size_together() -> None:
    actor, project = world()
    options = replace(text().options, secrets={str(each): "x" * (400 << 10) for each in range(3)})
    with pytest.raises(InvalidBuild, match="1200 KiB together; 1 MiB is allowed"):
        services.create_build(actor, project, BuildRequest(options=options))


def test_an_address_is_taken_apart_and_its_password_kept_out_of_it(road: RecordingRoad) -> None:
    actor, project = world()
    url = f"https://me:{CANARY}%40@example.org/team/web.git#v1:app/server"
    build = services.create_build(actor, project, BuildRequest(source=BuildSource(kind="git", url=url)))
    assert build.source == {
        "url": "https://example.org/team/web.git",
        "ref": "v1",
        "subdirectory": "app/server",
        "username": "me",
    }
    assert build.title == "web"
    (command,) = sent(road)
    assert command.source.password == f"{CANARY}@"


@pytest.mark.parametrize("account", ["ghp_{}", "github_pat_{}", "ghs_{}:x-oauth-basic", "glpat-{}"])
def test_a_token_in_place_of_a_user_name_is_a_password(account: str, road: RecordingRoad) -> None:
    actor, project = world()
    build = create(road, (actor, project), git(f"https://{account.format(CANARY)}@example.org/web.git"))
    (command,) = sent(road)
    assert build.source["username"] == command.source.username == "x-access-token"
    assert command.source.password == account.format(CANARY).partition(":")[0]
    assert build.credentials == ["password"]


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


def test_a_retry_asks_for_the_same_and_names_the_passwords_it_needs(road: RecordingRoad) -> None:
    actor, project = world()
    project.memory_bytes_max, project.pids_max = 8 << 30, 100
    project.save()
    wanted = BuildRequest(
        source=BuildSource(kind="git", url=f"https://me:{CANARY}@example.org/x.git"),
        options=BuildOptions(contexts={"lib": f"https://me:{CANARY}@example.org/lib.git", "base": "busybox"}),
        docker=Docker(memory=6 << 30, cpu_quota=50_000, cpu_shares=2),
        queue_timeout=60,
    )
    build = services.create_build(actor, project, wanted)
    build = tell(build, JobFailed(build.job.hex, Failure("X", "no")))
    with pytest.raises(SecretsNeeded) as caught:
        services.retry(actor, build)
    assert caught.value.facts == {"secrets": "", "credentials": "password, contexts.lib"}
    road.take()
    lib = f"https://me:new-{CANARY}@example.org/lib.git"
    made = services.retry(actor, build, password="new", contexts={"lib": lib, "stray": "x"})
    (command,) = sent(road)
    assert (command.source.username, command.source.password) == ("me", "new")
    assert command.options.contexts == {"lib": lib, "base": "busybox"}
    assert command.limits == Limits(memory_bytes=6 << 30, cpu_millis=500, pids=100)
    assert (made.queue_timeout, made.notes, made.credentials) == (60, build.notes, build.credentials)
    assert made.job.expires_at is not None
    assert made.job.expires_at - timezone.now() < timedelta(seconds=61)


def test_a_builds_own_account_goes_before_the_projects_and_is_asked_for_again(road: RecordingRoad) -> None:
    actor, project = world()
    for host in ("reg.example.org", "other.example.org"):
        set_credential(actor, project, host, "project", "word")
    own = {"reg.example.org": Account("own", CANARY), "localhost:8000": Account("own", CANARY)}
    build = create(
        road, (actor, project), replace(text(network="bridge", ulimits=("nofile=64:128",)), registries=own)
    )
    (command,) = sent(road)
    told = {host: command.access[host].username for host in ("reg.example.org", "other.example.org")}
    assert told == {"reg.example.org": "own", "other.example.org": "project"}
    assert command.access["localhost:8000"].password != CANARY  # our own registry knows its nodes
    assert (command.options.network, command.options.ulimits) == ("bridge", ("nofile=64:128",))
    tell(build, JobFailed(build.job.hex, Failure("X", "no")))
    build = loaded(command)
    with pytest.raises(SecretsNeeded, match="localhost:8000"):
        services.retry(actor, build, registries={"reg.example.org": Account("own", CANARY)})
    services.retry(actor, build, registries=own)
    assert sent(road)[-1].options == command.options


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


def test_a_secret_lies_nowhere_in_clear(road: RecordingRoad, django_db_blocker: Any) -> None:
    from django.db import connection

    actor, project = world()
    source = BuildSource(kind="git", url=f"https://me:{CANARY}@example.org/x.git")
    contexts = {
        "lib": f"https://me:{CANARY}@example.org/lib.git#v1:a",
        "tools": f"https://{CANARY}@example.org/tools.git",
        "base": "docker-image://busybox",
    }
    request = BuildRequest(
        source=source,
        options=BuildOptions(secrets={"key": CANARY}, contexts=contexts),
        registries={"https://index.docker.io/v1/": Account("me", CANARY)},
    )
    build = services.create_build(actor, project, request)
    (command,) = sent(road)
    assert (command.source.password, command.options.secrets) == (CANARY, {"key": CANARY})
    assert command.options.contexts == contexts
    assert [each for each in command.hidden() if CANARY in each] == [CANARY]
    assert build.options["contexts"]["lib"] == "https://example.org/lib.git#v1:a"
    assert build.credentials == ["password", "contexts.lib", "contexts.tools", "registries.docker.io"]
    assert (command.access["docker.io"].username, command.access["docker.io"].password) == ("me", CANARY)
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
    succeed(loaded(first))
    create(road, (actor, project), git("http://git.example.org/team/web.git"))
    (in_clear,) = sent(road)
    assert in_clear.source.password is None
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


def test_no_password_goes_in_the_address_of_a_request() -> None:
    query = {"contexts": ['{"lib": "https://me:word@example.org/lib.git"}']}
    with pytest.raises(InvalidFields, match="logs"):
        from_query(query)
    assert from_query({"contexts": ['{"lib": "https://example.org/lib.git"}']})["contexts"]
