"""Pulls, pushes, names and what stands in the way of a removal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.catalog import credentials, queries, services, sizes, tagging
from slipway.catalog.errors import ImageInUse
from slipway.catalog.models import Image, Reference, UpstreamTag
from slipway.catalog.pulls import pull_image
from slipway.catalog.pushes import push_image
from slipway.catalog.registries import Registries
from slipway.catalog.search import search_repositories
from slipway.jobs.models import Job, JobState
from slipway.projects.errors import QuotaExceeded
from slipway.projects.models import Project, QuotaLimit, Resource
from slipway.repositories import tokens
from slipway.repositories.models import Repository, Visibility
from slipway.sweep import forget_tags
from tests.factories import digest, make_actor, make_container, make_image, make_library, make_project
from tests.roads import RecordingRoad
from workers.errors import InvalidReference, NoSuchImage, RegistryNotAllowed, UserError
from workers.messages import PullImage, PushImage

pytestmark = pytest.mark.django_db
SECRET = "a secret of the registry"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def actor(project: Project) -> Actor:
    return make_actor(project.team)


def remember(project: Project | None = None, **fields: Any) -> UpstreamTag:
    now = timezone.now()
    values = {
        "name": "docker.io/library/busybox",
        "tag": "latest",
        "digest": digest("manifest"),
        "index_digest": digest("index"),
        "image_id": digest("image"),
        "fetched_at": now,
        "used_at": now,
    }
    return UpstreamTag.objects.create(project=project, **(values | fields))


# --------------------------------------------------------------------------- pulls


def test_a_pull_is_a_job_and_a_command(project: Project, actor: Actor, road: RecordingRoad) -> None:
    job = pull_image(actor, project, "busybox", platform="linux/arm64")
    assert (job.state, job.subject) == (JobState.QUEUED, "busybox:latest")
    [command] = road.take()
    assert command == PullImage(
        job.hex,
        project.hex,
        "docker.io/library/busybox:latest",
        ("busybox:latest",),
        "linux/arm64",
        shared_scope="upstream",
    )


def test_a_pull_by_digest_gives_no_name(project: Project, actor: Actor, road: RecordingRoad) -> None:
    pull_image(actor, project, f"example.org/web:1@{digest('x')}")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert (command.names, command.reference) == ((), f"example.org/web:1@{digest('x')}")


def test_a_tag_asked_for_a_moment_ago_is_not_asked_again(
    project: Project, actor: Actor, road: RecordingRoad, settings: Any
) -> None:
    remember()
    pull_image(actor, project, "busybox")
    pull_image(actor, project, "busybox", refresh=True)
    settings.SLIPWAY_UPSTREAM_FRESH_SECONDS = 0
    QuotaLimit.objects.create(project=project, resource=Resource.BUILDS, amount=9)
    pull_image(actor, project, "busybox")
    known = [(each.known_digest, each.fallback_digest) for each in road.take() if isinstance(each, PullImage)]
    manifest = digest("manifest")
    assert known == [(manifest, manifest), (None, manifest), (None, manifest)]


def test_what_a_digest_names_never_grows_old(project: Project, actor: Actor, road: RecordingRoad) -> None:
    remember(fetched_at=timezone.now() - timedelta(days=400))
    pull_image(actor, project, f"busybox@{digest('index')}", refresh=True)
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert command.known_digest == digest("manifest")


def test_what_took_credentials_is_nobody_elses(project: Project, actor: Actor, road: RecordingRoad) -> None:
    remember(make_project())
    pull_image(actor, project, "busybox")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert (command.shared_scope, command.known_digest, command.fallback_digest) == ("upstream", None, None)
    remember(project, name="example.org/web", tag="1")
    pull_image(actor, project, "example.org/web:1")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert (command.shared_scope, command.known_digest) == (project.hex, digest("manifest"))


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("Upper", {}, InvalidReference),
        ("busybox", {"platform": "windows"}, InvalidRequest),
        ("denied.example.org/web", {}, RegistryNotAllowed),
        ("10.0.0.7:5000/web", {}, RegistryNotAllowed),
        ("localhost:5999/web", {}, RegistryNotAllowed),
        ("[::1]:5000/web", {}, RegistryNotAllowed),
        ("elsewhere.test/web", {}, RegistryNotAllowed),
    ],
)
def test_what_may_not_be_pulled_makes_no_job(
    project: Project, actor: Actor, road: RecordingRoad, settings: Any, name: str, options: Any, error: Any
) -> None:
    settings.SLIPWAY_REGISTRIES_DENY = ["denied.example.org"]
    settings.SLIPWAY_REGISTRIES_ALLOW = ["docker.io", "*.example.org", "localhost", "10.0.0.7", "[::1]"]
    with pytest.raises(error):
        pull_image(actor, project, name, **options)
    assert not Job.objects.exists()
    assert road.take() == []


def test_the_administrator_lets_a_private_registry_in(
    project: Project, actor: Actor, road: RecordingRoad, settings: Any
) -> None:
    settings.SLIPWAY_REGISTRIES_PRIVATE = ["127.0.0.1:5999"]
    settings.SLIPWAY_REGISTRIES_PLAIN_HTTP = ["127.0.0.1"]
    settings.SLIPWAY_REGISTRY_MIRRORS = {"127.0.0.1:5999": ("http://mirror",)}
    pull_image(actor, project, "127.0.0.1:5999/web")
    [command] = road.take()
    assert isinstance(command, PullImage)
    access = command.access
    assert (access.allow_private, access.plain_http, access.mirrors) == (True, True, ("http://mirror",))
    with pytest.raises(RegistryNotAllowed):
        pull_image(actor, project, "127.0.0.1:6000/web")


def test_a_full_project_pulls_nothing(project: Project, actor: Actor) -> None:
    QuotaLimit.objects.create(project=project, resource=Resource.DISK, amount=0)
    with pytest.raises(QuotaExceeded):
        pull_image(actor, project, "busybox")


def test_viewers_pull_and_push_nothing_and_strangers_see_nothing(project: Project) -> None:
    image, viewer = make_image(project), make_actor(project.team, Role.VIEWER)
    for act in (
        lambda who: pull_image(who, project, "busybox"),
        lambda who: push_image(who, project, image, "example.org/a/b:1"),
        lambda who: tagging.tag_image(who, project, image, "b:1"),
        lambda who: tagging.untag_image(who, project, "busybox"),
    ):
        with pytest.raises(NotAllowed):
            act(viewer)
        with pytest.raises(NotFound):
            act(make_actor(make_project().team))


# --------------------------------------------------------------------------- pushes


def test_a_push_is_a_job_and_a_command(project: Project, actor: Actor, road: RecordingRoad) -> None:
    image = make_image(project)
    credentials.set_credential(actor, project, "example.org", "ada", SECRET)
    job = push_image(actor, project, image, "example.org/team/web:2", compression="zstd")
    [command] = road.take()
    assert isinstance(command, PushImage)
    assert (command.job, command.scope, command.image_id) == (job.hex, project.hex, image.image_id)
    assert (command.reference, command.compression) == ("example.org/team/web:2", "zstd")
    assert (command.access.password, job.subject) == (SECRET, "example.org/team/web:2")
    assert SECRET not in job.command


def test_nothing_is_pushed_to_a_digest_or_under_a_withdrawn_image(project: Project, actor: Actor) -> None:
    image = make_image(project)
    with pytest.raises(InvalidReference):
        push_image(actor, project, image, f"example.org/a/b@{digest('x')}")
    Image.objects.update(withdrawn=True)
    with pytest.raises(NoSuchImage):
        push_image(actor, project, image, "example.org/a/b:1")


# --------------------------------------------------------------------------- names


def test_a_name_is_given_moved_and_taken_away(project: Project, actor: Actor) -> None:
    first, second = make_image(project), make_image(project, "web:1")
    tagging.tag_image(actor, project, first, "shop")
    tagging.tag_image(actor, project, second, "docker.io/library/shop:latest")
    assert queries.resolve(actor, project, "shop") == second
    assert tagging.untag_image(actor, project, "shop") == second
    with pytest.raises(NoSuchImage):
        tagging.untag_image(actor, project, "shop")
    with pytest.raises(NoSuchImage, match="has no name"):
        tagging.untag_image(actor, project, "web:1", first)
    tagging.untag_image(actor, project, "web:1", second)
    assert list(queries.list_images(actor, project, dangling=True)) == [second]
    assert list(queries.list_images(actor, project, dangling=False)) == [first]
    assert queries.resolve(actor, project, second.image_id) == second
    actions = list(Entry.objects.order_by("seq").values_list("action", flat=True))
    assert actions == ["image.tag", "image.tag", "image.untag", "image.untag"]


def test_images_of_others_get_no_name_here(project: Project, actor: Actor) -> None:
    library = make_library()
    theirs = make_image(library)
    with pytest.raises(NoSuchImage, match="library"):
        tagging.tag_image(actor, project, theirs, "mine:1")
    with pytest.raises(InvalidReference):
        tagging.tag_image(actor, project, make_image(project), f"a@{digest('x')}")
    assert not Reference.objects.filter(name="mine").exists()


def test_a_list_is_filtered_by_name(project: Project, actor: Actor) -> None:
    web = make_image(project, "team/web:1")
    make_image(project, "busybox:1")
    assert list(queries.list_images(actor, project, name="team/web")) == [web]


# --------------------------------------------------------------------------- removal


def test_what_stands_in_the_way_of_a_removal_is_told(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    image = make_image(project)
    make_container(project, name="web", image=image)
    job = push_image(actor, project, image, "example.org/a/b:1")
    with pytest.raises(ImageInUse) as caught:
        services.remove_image(actor, image)
    facts = {"containers": 1, "pushes": 1, "used_by": "container web, push example.org/a/b:1"}
    assert caught.value.facts == facts
    Job.objects.filter(pk=job.pk).update(state=JobState.FAILED)
    with pytest.raises(ImageInUse) as caught:
        services.remove_image(actor, image)
    assert "pushes" not in caught.value.facts


# --------------------------------------------------------------------------- disk


def test_a_layer_takes_its_place_once_however_many_images_hold_it(project: Project, actor: Actor) -> None:
    make_image(make_library(), "base:1", layers=("a",))
    make_image(make_project(), "strange:1", layers=("c",))
    used = make_image(project, "one:1", layers=("a", "b"))
    spare = make_image(project, "two:1", layers=("a", "b", "c"))
    make_container(project, image=used)
    use = sizes.disk_use(actor, project)
    assert (use.images, use.size, use.disk, use.library) == (2, 500, 300, 100)
    assert (use.unused_images, use.reclaimable) == (1, 100)
    sizes.measure([used, spare])
    assert (used.shared_size, used.unique_size) == (200, 0)
    assert (spare.shared_size, spare.unique_size) == (200, 100)
    assert queries.count_containers([used, spare]) == {used.pk: 1}


# --------------------------------------------------------------------------- our own registry


def test_a_bare_name_is_pushed_to_the_projects_own_repository(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    image = make_image(project)
    job = push_image(actor, project, image, "web:2")
    assert job.subject == f"localhost:8000/{project.path}/web:2"
    [command] = road.take()
    assert isinstance(command, PushImage)
    assert command.reference == f"127.0.0.1:8000/{project.path}/web:2"
    assert command.access.username == "node"
    assert (command.access.plain_http, command.access.allow_private) == (True, True)
    claims = tokens.verify(command.access.password or "", "access")
    assert claims.grants == {f"{project.path}/web": {"pull", "push"}}
    assert claims.user == actor.user.hex  # type: ignore[union-attr]  # it is a user's
    assert (command.access.password or "") not in job.command
    push_image(actor, project, image, "docker.io/library/web:2")
    [command] = road.take()
    assert isinstance(command, PushImage)
    assert command.reference == "docker.io/library/web:2"


def test_nobody_pushes_to_a_project_that_is_not_theirs(project: Project, actor: Actor) -> None:
    image, others = make_image(project), make_project()
    with pytest.raises(NotFound):
        push_image(actor, project, image, f"localhost:8000/{others.path}/web:1")
    with pytest.raises(UserError, match="lacks a part"):
        push_image(actor, project, image, "localhost:8000/web:1")


def test_an_image_of_the_library_is_pushed_as_it_is(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    library = make_library()
    push_image(actor, project, make_image(library), "busybox:1")
    [command] = road.take()
    assert isinstance(command, PushImage)
    assert (command.scope, command.reference) == (library.hex, f"127.0.0.1:8000/{project.path}/busybox:1")


def test_our_own_registry_is_pulled_from_with_a_token_for_that_alone(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    Repository.objects.create(project=project, name="web", path=f"{project.path}/web")
    pull_image(actor, project, f"localhost:8000/{project.path}/web:1")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert command.names == (f"localhost:8000/{project.path}/web:1",)
    assert command.reference == f"127.0.0.1:8000/{project.path}/web:1"
    assert command.shared_scope is None
    claims = tokens.verify(command.access.password or "", "access")
    assert claims.grants == {f"{project.path}/web": {"pull"}}


def test_a_repository_one_may_not_see_is_pulled_as_one_that_is_not_there(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    others = make_project()
    path = f"{others.path}/web"
    repository = Repository.objects.create(project=others, name="web", path=path)
    told = []
    for name in (path, f"{others.path}/nothing"):
        with pytest.raises(NotFound) as caught:
            pull_image(actor, project, f"localhost:8000/{name}:1")
        told.append(str(caught.value).replace(name, "…"))
    assert told[0] == told[1]
    repository.visibility = Visibility.PUBLIC
    repository.save()
    pull_image(actor, project, f"localhost:8000/{path}:1")
    assert len(road.take()) == 1


def test_a_search_finds_repositories_one_may_pull_from(project: Project, actor: Actor) -> None:
    others = make_project()
    for owner, name, visibility in (
        (project, "webshop", "private"),
        (others, "website", "public"),
        (others, "web-secret", "private"),
    ):
        Repository.objects.create(
            project=owner,
            name=name,
            path=f"{owner.path}/{name}",
            visibility=visibility,
            readme="\n# The shop\nmore",
        )
    registries = Registries.of_settings()
    found = search_repositories(actor, "web", registries)
    assert {each.reference.rpartition("/")[2] for each in found} == {"webshop", "website"}
    assert {each.description for each in found} == {"The shop"}
    assert [each.project for each in search_repositories(actor, "web", registries, project)] == [project.path]


def test_what_nobody_pulled_for_long_is_asked_for_anew() -> None:
    now = timezone.now()
    remember(used_at=now - timedelta(days=91))
    kept = remember(tag="1", used_at=now - timedelta(days=89))
    assert forget_tags(now) == 1
    assert UpstreamTag.objects.get() == kept


def test_nodes_are_told_for_builds_which_registries_are_allowed(settings: Any) -> None:
    settings.SLIPWAY_REGISTRIES_ALLOW = ["docker.io", "*.example.org"]
    settings.SLIPWAY_REGISTRIES_DENY = ["bad.example.org"]
    told = Registries.of_settings().by_pattern()
    assert {name: access.denied for name, access in told.items()} == {
        "*": True,
        "docker.io": False,
        "*.example.org": False,
        "bad.example.org": True,
    }
