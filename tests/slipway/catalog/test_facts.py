"""What nodes tell of pulls and pushes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db.models import CharField, Model

from slipway import events
from slipway.catalog import queries
from slipway.catalog.models import Image, UpstreamTag
from slipway.catalog.models import Origin as Trace
from slipway.hints import Hint
from slipway.jobs.models import Job, JobKind, LayerState
from slipway.projects.models import Project
from tests.factories import digest, image_config, make_actor, make_image, make_job, make_node, make_project
from workers.messages import (
    ImageImported,
    ImagePushed,
    LayerFacts,
    LayerProgress,
    LayersProgressed,
    Origin,
    PullImage,
    RegistryAccess,
    encode,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
TAGGED = "docker.io/library/busybox:1.36"
ORIGIN = Origin(TAGGED, digest("manifest"), digest("index"))


def pull(project: Project, **fields: object) -> tuple[Job, ImageImported]:
    """A pull's job and the event of its success."""
    job = make_job(project, kind=JobKind.PULL_IMAGE)
    command = PullImage(job.hex, project.hex, TAGGED, ("busybox:1.36",), shared_scope="upstream")
    Job.objects.filter(pk=job.pk).update(command=encode(replace(command, **fields)))
    layer = LayerFacts(digest("blob"), digest("layer"), 10, 30)
    imported = ImageImported(
        job.hex,
        project.hex,
        digest("image"),
        digest("manifest"),
        image_config(),
        (layer,),
        ("busybox:1.36",),
        ORIGIN,
    )
    return job, imported


def test_a_pulled_image_tells_where_it_came_from() -> None:
    project = make_project()
    _, imported = pull(project)
    for _ in range(2):
        events.apply(imported, make_node(), NOW)
    image = Image.objects.get()
    assert [origin.repo_digest for origin in image.origins.all()] == [f"busybox@{digest('index')}"]
    assert [origin.reference for origin in image.origins.all()] == ["busybox:1.36"]
    actor = make_actor(project.team)
    for known in ("manifest", "index"):
        assert queries.resolve(actor, project, f"busybox@{digest(known)}") == image


def test_what_was_pulled_without_credentials_is_remembered_for_all() -> None:
    _, imported = pull(make_project())
    events.apply(imported, make_node(), NOW)
    row = UpstreamTag.objects.get()
    assert (row.name, row.tag, row.project) == ("docker.io/library/busybox", "1.36", None)
    assert (row.digest, row.index_digest, row.size) == (digest("manifest"), digest("index"), 30)
    assert (row.fetched_at, row.used_at) == (NOW, NOW)


def test_what_was_pulled_with_credentials_stays_the_projects() -> None:
    project = make_project()
    _, imported = pull(project, access=RegistryAccess(username="ada"))
    events.apply(imported, make_node(), NOW)
    assert UpstreamTag.objects.get().project == project


def test_a_tag_is_only_as_fresh_as_upstreams_last_word() -> None:
    project, node = make_project(), make_node()
    _, imported = pull(project)
    events.apply(imported, node, NOW)
    _, again = pull(project, known_digest=digest("manifest"))
    events.apply(replace(again, origin=replace(ORIGIN, cached=True)), node, LATER)
    row = UpstreamTag.objects.get()
    assert (row.fetched_at, row.used_at) == (NOW, LATER)
    _, asked = pull(project, fallback_digest=digest("manifest"))
    events.apply(replace(asked, origin=replace(ORIGIN, cached=True)), node, LATER)
    row.refresh_from_db()
    assert row.fetched_at == LATER


def test_a_pull_by_digest_tells_nothing_of_what_the_tag_means() -> None:
    """Else whoever pulls an old digest would hand it to everybody who asks for the tag."""
    _, imported = pull(make_project(), reference=f"{TAGGED}@{digest('manifest')}")
    told = replace(ORIGIN, reference=f"{TAGGED}@{digest('manifest')}")
    events.apply(replace(imported, origin=told, references=()), make_node(), NOW)
    assert Trace.objects.get().repo_digest == f"busybox@{digest('index')}"
    assert not UpstreamTag.objects.exists()


def test_a_fallback_says_so_on_job_and_image() -> None:
    project, node = make_project(), make_node()
    job, imported = pull(project, fallback_digest=digest("manifest"))
    stale = replace(ORIGIN, cached=True, stale="docker.io does not answer.")
    events.apply(replace(imported, origin=stale), node, NOW)
    job.refresh_from_db()
    assert job.detail == "Taken from the cache: docker.io does not answer."
    assert Trace.objects.get().stale == "docker.io does not answer."
    assert not UpstreamTag.objects.exists()


def test_what_our_own_registry_has_is_not_cached_and_bears_the_name_people_write() -> None:
    project = make_project()
    ours = "127.0.0.1:8000/acme/shop/web:1"
    job, imported = pull(project, reference=ours)
    Job.objects.filter(pk=job.pk).update(subject="localhost:8000/acme/shop/web:1")
    events.apply(replace(imported, origin=replace(ORIGIN, reference=ours)), make_node(), NOW)
    assert Trace.objects.get().reference == "localhost:8000/acme/shop/web:1"
    assert not UpstreamTag.objects.exists()


def test_layers_are_kept_as_last_told_and_hinted_at() -> None:
    job = make_job(kind=JobKind.PULL_IMAGE)
    told = LayersProgressed(
        job.hex,
        (
            LayerProgress(digest("a"), "downloading", 5, 10),
            LayerProgress(digest("b"), "waiting", 0, 7),
        ),
    )
    for _ in range(2):
        assert events.apply(told, make_node(), NOW) == (Hint(f"project:{job.project.hex}", "jobs"),)
    assert Job.objects.get().layers == [
        LayerState(digest("a"), "downloading", 5, 10),
        LayerState(digest("b"), "waiting", 0, 7),
    ]
    assert events.apply(replace(told, job="0" * 32), make_node(), NOW) == ()


def test_a_push_is_traced_and_summed_up() -> None:
    image = make_image()
    job = make_job(image.project, kind=JobKind.PUSH_IMAGE)
    pushed = ImagePushed(
        job.hex,
        image.project.hex,
        image.image_id,
        "example.org/team/web:2",
        digest("pushed"),
        900,
        existed=2,
        mounted=0,
        uploaded=1,
    )
    for _ in range(2):
        events.apply(pushed, make_node(), NOW)
    job.refresh_from_db()
    assert "1 uploaded, 2 there already" in job.detail
    assert [origin.repo_digest for origin in image.origins.all()] == [
        f"example.org/team/web@{digest('pushed')}"
    ]
    assert events.apply(replace(pushed, image_id=digest("gone")), make_node(), NOW) == ()


def long_digest(text: str) -> str:
    return f"sha512:{hashlib.sha512(text.encode()).hexdigest()}"


def test_an_image_named_by_sha512_is_catalogued_and_found() -> None:
    project = make_project()
    _, imported = pull(project)
    origin = Origin(TAGGED, long_digest("manifest"), long_digest("index"))
    layer = LayerFacts(long_digest("blob"), long_digest("layer"), 10, 30)
    events.apply(
        replace(
            imported,
            image_id=long_digest("image"),
            manifest_digest=long_digest("manifest"),
            layers=(layer,),
            origin=origin,
        ),
        make_node(),
        NOW,
    )
    image = Image.objects.get()
    assert (image.image_id, image.layers.get().diff_id) == (long_digest("image"), long_digest("layer"))
    tag = UpstreamTag.objects.get()
    assert (tag.digest, tag.index_digest) == (long_digest("manifest"), long_digest("index"))
    actor = make_actor(project.team)
    assert len(image.short_id) == 12
    for name in (image.image_id, image.short_id, f"busybox@{long_digest('index')}", "busybox:1.36"):
        assert queries.resolve(actor, project, name) == image


def _is_ours(model: type[Model]) -> bool:
    """Of a room that keeps digests of images."""
    return model._meta.app_label in ("builds", "catalog", "containers", "jobs", "repositories")


def test_every_column_of_a_digest_has_room_for_the_longest() -> None:
    """SQLite counts no characters, so it would not tell."""
    for model in apps.get_models():
        for field in model._meta.get_fields():
            named = field.name.endswith(("digest", "diff_id")) or field.name in ("image_id", "subject")
            if named and isinstance(field, CharField) and _is_ours(model):
                assert (field.max_length or 0) >= len(long_digest("")), (model, field.name)
