from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slipway import events
from slipway.catalog.models import Image, ImageLayer, Reference
from slipway.containers.models import Container, State
from slipway.hints import Hint
from slipway.jobs.models import Job, JobKind, JobState
from slipway.nodes.models import Node
from tests.factories import (
    digest,
    image_config,
    make_container,
    make_image,
    make_job,
    make_node,
    make_project,
)
from tests.roads import RecordingRoad
from workers.messages import (
    ContainerExited,
    ContainerFacts,
    ContainerRemoved,
    ContainerStarted,
    Failure,
    ImageImported,
    ImageRemoved,
    Inventory,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    LayerFacts,
    RemoveContainer,
    RemoveImage,
    encode,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def node() -> Node:
    return make_node()


def started(container: Container, run: int = 1) -> ContainerStarted:
    return ContainerStarted(container.id, 1, run, 7, "10.87.0.2", NOW.timestamp())


def test_an_event_writes_its_row_and_hints_at_it(node: Node) -> None:
    container = make_container(desired_generation=1)
    hints = events.apply(started(container), node, NOW)
    container.refresh_from_db()
    assert container.observed == State.RUNNING
    assert hints == (
        Hint(f"container:{container.id}", "state"),
        Hint(f"project:{container.project.hex}", "containers"),
    )
    assert events.apply(started(container), node, NOW) == ()


def test_an_event_leaves_the_columns_of_intent_alone(node: Node) -> None:
    container = make_container(desired=State.RUNNING, desired_generation=1, desired_run=1)
    events.apply(started(container), node, NOW)
    row = Container.objects.get()
    assert (row.desired, row.desired_generation, row.desired_run) == (State.RUNNING, 1, 1)


def test_a_removal_is_hinted_as_such(node: Node) -> None:
    container = make_container(desired=State.REMOVING, desired_generation=1)
    hints = events.apply(ContainerRemoved(container.id, 1), node, NOW)
    assert hints[0] == Hint(f"container:{container.id}", "removed")
    assert Container.objects.get().removed_at == NOW


def test_a_node_tells_of_its_own_containers_only(node: Node) -> None:
    container = make_container()
    assert events.apply(started(container), make_node("other"), NOW) == ()
    assert events.apply(ContainerRemoved("cd" * 32, 1), node, NOW) == ()
    assert Container.objects.get().observed == State.CREATED


def test_a_job_runs_and_ends_once(node: Node) -> None:
    job = make_job()
    events.apply(JobStarted(job.hex), node, NOW)
    events.apply(JobProgressed(job.hex, "unpacking", 5, 10), node, NOW)
    job.refresh_from_db()
    assert (job.state, job.detail, job.done, job.total, job.started_at) == (
        "running",
        "unpacking",
        5,
        10,
        NOW,
    )
    events.apply(JobSucceeded(job.hex), node, NOW)
    for late in (JobStarted(job.hex), JobFailed(job.hex, Failure("X", "y")), JobProgressed(job.hex, "late")):
        assert events.apply(late, node, NOW) == ()
    job.refresh_from_db()
    assert (job.state, job.detail, job.cause, job.resend_at) == ("succeeded", "unpacking", None, None)


def test_a_job_fails_with_its_cause(node: Node) -> None:
    job = make_job()
    events.apply(JobFailed(job.hex, Failure("ARCHIVE_INVALID", "not a tar", {"at": 3})), node, NOW)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert job.cause == {"code": "ARCHIVE_INVALID", "message": "not a tar", "facts": {"at": 3}}


def test_events_of_unknown_jobs_are_passed_over(node: Node) -> None:
    for job in ("0" * 32, "no id"):
        assert events.apply(JobSucceeded(job), node, NOW) == ()


def imported(scope: str, *references: str, image: str = "one") -> ImageImported:
    layers = tuple(LayerFacts(digest(f"blob {w}"), digest(w), 10, 20) for w in ("a", "b"))
    return ImageImported("0" * 32, scope, digest(image), digest("m"), image_config(), layers, references)


def test_an_imported_image_has_rows_and_names(node: Node) -> None:
    project = make_project()
    hints = events.apply(imported(project.hex, "busybox:latest", "acme/web:v1"), node, NOW)
    image = Image.objects.get()
    assert (image.image_id, image.size) == (digest("one"), 40)
    assert [layer.diff_id for layer in ImageLayer.objects.all()] == [digest("a"), digest("b")]
    assert [str(each) for each in Reference.objects.all()] == ["acme/web:v1", "busybox:latest"]
    assert hints == (Hint(f"project:{project.hex}", "images"),)
    events.apply(imported(project.hex, "busybox:latest"), node, NOW)
    assert (Image.objects.count(), ImageLayer.objects.count()) == (1, 2)


def test_a_name_moves_to_the_newer_image(node: Node) -> None:
    project = make_project()
    events.apply(imported(project.hex, "busybox:latest"), node, NOW)
    events.apply(imported(project.hex, "busybox:latest", "Broken Name", image="two"), node, NOW)
    assert Reference.objects.get().image.image_id == digest("two")
    assert Image.objects.count() == 2


def test_images_come_from_the_projects_home_node_only() -> None:
    project = make_project()
    assert events.apply(imported(project.hex), make_node("other"), NOW) == ()
    assert events.apply(imported("no id"), make_node(), NOW) == ()
    assert not Image.objects.exists()


def test_a_removed_image_is_gone_with_its_names_and_containers_stay(node: Node) -> None:
    container = make_container()
    image = container.image
    assert image is not None
    events.apply(ImageRemoved("0" * 32, image.project.hex, image.image_id), node, NOW)
    assert not Image.objects.exists()
    assert not Reference.objects.exists()
    assert Container.objects.get().image is None


def test_an_image_whose_removal_failed_can_be_used_again(node: Node) -> None:
    image = make_image(withdrawn=True)
    job = make_job(image.project)
    Job.objects.filter(pk=job.pk).update(
        kind=JobKind.REMOVE_IMAGE, command=encode(RemoveImage(job.hex, image.project.hex, image.image_id))
    )
    events.apply(JobFailed(job.hex, Failure("NODE_ERROR", "disk")), node, NOW)
    image.refresh_from_db()
    assert not image.withdrawn


def test_an_inventory_corrects_what_is_wrong(node: Node, road: RecordingRoad) -> None:
    alive = {"observed": State.RUNNING, "observed_generation": 1, "run": 1, "desired_generation": 1}
    project = make_project()
    lost, fine, missed = (make_container(project, **alive) for _ in range(3))
    gone = make_container(project, removed_at=NOW, desired_generation=2, observed_generation=2)
    elsewhere = make_container(project, **{**alive, "node": make_node("other")})
    event = Inventory(
        (
            ContainerFacts(fine.id, 1, 1, "running"),
            ContainerFacts(missed.id, 1, 1, "exited", 4),
            ContainerFacts(gone.id, 1, 1, "exited", 0),
            ContainerFacts("ef" * 32, 1, 1, "running"),
        )
    )
    hints = events.apply(event, node, NOW)
    states = {row.id: (row.observed, row.exit_code) for row in Container.objects.all()}
    assert states[lost.id] == (State.EXITED, None)
    assert states[fine.id] == states[elsewhere.id] == (State.RUNNING, None)
    assert states[missed.id] == (State.EXITED, 4)
    assert {hint.topic for hint in hints} >= {f"container:{lost.id}", f"container:{missed.id}"}
    # What was never ours is left alone; what was removed is removed again, above any generation it knows.
    assert road.take() == [RemoveContainer(gone.id, 3)]


def test_an_exit_by_lack_of_memory_is_kept_with_its_cause(node: Node) -> None:
    container = make_container()
    events.apply(started(container), node, NOW)
    cause = Failure("OUT_OF_MEMORY", "killed", {"limit": 5})
    events.apply(ContainerExited(container.id, 1, 1, 137, True, NOW.timestamp(), cause), node, NOW)
    row = Container.objects.get()
    assert (row.exit_code, row.oom_killed, row.cause["facts"]) == (137, True, {"limit": 5})
