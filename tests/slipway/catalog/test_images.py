from __future__ import annotations

import json

import pytest

from slipway.accounts.actors import OPERATOR
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.catalog import queries, services
from slipway.catalog.errors import AmbiguousImage, ImageInUse, NoSuchRecipe
from slipway.catalog.models import Image, Reference
from slipway.catalog.recipes import bake_image
from slipway.jobs.models import Job, JobState
from tests.factories import (
    digest,
    image_config,
    make_actor,
    make_container,
    make_image,
    make_library,
    make_project,
)
from tests.roads import RecordingRoad
from workers.errors import InvalidDigest, InvalidReference, NoSuchImage
from workers.messages import BakeImage, ImportImage, RemoveImage

pytestmark = pytest.mark.django_db


def test_an_import_is_a_job_and_a_command(road: RecordingRoad) -> None:
    project = make_project()
    actor = make_actor(project.team, Role.DEVELOPER)
    job = services.import_image(
        actor, project, digest("tar"), repository="acme/web", tag="v1", changes=["CMD sh"]
    )
    assert (job.state, job.subject, job.created_by) == (JobState.QUEUED, "acme/web:v1", actor.user)
    assert road.take() == [
        ImportImage(job.hex, project.hex, digest("tar"), "acme/web", "v1", ("CMD sh",)),
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"upload": "sha256:abc"}, InvalidDigest),
        ({"upload": digest("x"), "repository": "Upper"}, InvalidReference),
        ({"upload": digest("x"), "repository": "web", "tag": "a b"}, InvalidReference),
        ({"upload": digest("x"), "tag": "v1"}, InvalidReference),
        ({"upload": digest("x"), "repository": f"web@{digest('y')}"}, InvalidReference),
        ({"upload": digest("x"), "changes": ["CMD x"] * 101}, InvalidRequest),
    ],
)
def test_a_wrong_import_makes_no_job(road: RecordingRoad, arguments: dict, error: type[Exception]) -> None:
    project = make_project()
    with pytest.raises(error):
        services.import_image(make_actor(project.team), project, **arguments)
    assert not Job.objects.exists()
    assert road.take() == []


def test_viewers_import_nothing() -> None:
    project = make_project()
    with pytest.raises(NotAllowed):
        services.import_image(make_actor(project.team, Role.VIEWER), project, digest("x"))


def test_base_images_are_baked_into_the_library_by_administrators(road: RecordingRoad) -> None:
    library = make_library()
    job = bake_image(OPERATOR, "busybox")
    assert road.take() == [BakeImage(job.hex, library.hex, "busybox", "busybox", "latest")]
    with pytest.raises(NotAllowed):
        bake_image(make_actor(), "busybox")
    with pytest.raises(NoSuchRecipe):
        bake_image(OPERATOR, "windows")


def test_a_removal_takes_the_names_at_once_and_tells_the_node(road: RecordingRoad) -> None:
    image = make_image()
    actor = make_actor(image.project.team)
    job = services.remove_image(actor, image)
    assert road.take() == [RemoveImage(job.hex, image.project.hex, image.image_id)]
    assert job.subject == "busybox:latest"
    assert not Reference.objects.exists()
    assert not queries.list_images(actor, image.project).exists()
    with pytest.raises(NoSuchImage):
        queries.resolve(actor, image.project, image.image_id)


def test_an_image_in_use_stays(road: RecordingRoad) -> None:
    container = make_container(name="web")
    actor = make_actor(container.project.team)
    with pytest.raises(ImageInUse, match="'web'"):
        services.remove_image(actor, container.image)
    assert road.take() == []
    assert Reference.objects.exists()


def test_the_projects_own_image_wins_over_the_librarys() -> None:
    library, project = make_library(), make_project()
    actor = make_actor(project.team, Role.VIEWER)
    theirs = make_image(library)
    assert queries.resolve(actor, project, "busybox") == theirs
    ours = make_image(project)
    for name in (
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox",
        ours.image_id,
        ours.image_id[7:15],
    ):
        assert queries.resolve(actor, project, name) == ours
    assert queries.resolve(actor, project, theirs.image_id) == theirs
    assert queries.resolve(actor, project, f"busybox@{ours.manifest_digest}") == ours


def test_images_of_other_projects_do_not_exist() -> None:
    image, project = make_image(), make_project()
    actor = make_actor(project.team)
    with pytest.raises(NoSuchImage):
        queries.resolve(actor, project, image.image_id)
    with pytest.raises(NotFound):
        queries.get_image(actor, image.hex)
    with pytest.raises(NotFound):
        queries.resolve(actor, image.project, "busybox")
    assert queries.get_image(make_actor(image.project.team, Role.VIEWER), image.hex) == image


def test_a_short_id_must_fit_one_image() -> None:
    project = make_project()
    for last in "ab":
        make_image(project, None, image_id="sha256:" + "c" * 63 + last)
    with pytest.raises(AmbiguousImage):
        queries.resolve(make_actor(project.team), project, "cccccc")
    with pytest.raises(InvalidReference):
        queries.resolve(make_actor(project.team), project, "Not An Image")


def test_a_list_of_images_costs_the_same_for_any_length(django_assert_num_queries) -> None:
    project = make_project()
    actor = make_actor(project.team)
    for number in range(6):
        make_image(project, f"image{number}:latest")
    queries.list_images(actor, project)
    with django_assert_num_queries(4):
        images = list(queries.list_images(actor, project))
        assert str(next(iter(images[0].references.all()))) == "image5:latest"
        assert sum(len(image.layers.all()) for image in images) == 6


def test_history_pairs_its_lines_with_layers() -> None:
    config = image_config(
        history=[
            {"created_by": "ADD rootfs", "created": "2026-01-01T00:00:00Z"},
            {"created_by": "ENV a=b", "empty_layer": True},
            {"created_by": "RUN x", "comment": "built"},
        ]
    )
    lines = queries.history(make_image(layers=("a", "b", "c"), config=config))
    assert [(line.created_by, line.layer and line.layer.position) for line in lines] == [
        ("ADD rootfs", 0),
        ("ENV a=b", None),
        ("RUN x", 1),
        ("", 2),
    ]


@pytest.mark.parametrize("history", [None, "text", [1, None], [{"created_by": 7, "created": []}]])
def test_a_strange_history_is_read_as_far_as_it_goes(history: object) -> None:
    image = make_image(config=json.dumps({"history": history}))
    assert [line.layer.position for line in queries.history(image) if line.layer] == [0]


def test_shared_layers_are_counted_within_what_the_project_sees() -> None:
    library, project, stranger = make_library(), make_project(), make_project()
    make_image(library, "base:latest", layers=("a",))
    make_image(project, "sibling:v1", layers=("a", "b"))
    make_image(stranger, "secret:latest", layers=("a", "b", "c"))
    sharing = queries.sharing(make_image(project, "mine:latest", layers=("a", "b", "c")))
    assert [use.shared_with for use in sharing.layers] == [("base:latest", "sibling:v1"), ("sibling:v1",), ()]
    assert (sharing.shared_size, sharing.unique_size) == (200, 100)


def test_an_image_is_kept_as_long_as_its_row_is_needed() -> None:
    container = make_container()
    Image.objects.all().delete()
    container.refresh_from_db()
    assert container.image is None
    assert container.image_name == "busybox"
