"""Jobs: admitted when the quota has room, cancelled, retried, and ended by evidence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway import events, sweep
from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed
from slipway.accounts.models import Role
from slipway.catalog.recipes import bake_image
from slipway.catalog.services import import_image, remove_image
from slipway.jobs import handlers
from slipway.jobs.errors import JobActive, JobEnded, NotRepeatable
from slipway.jobs.handlers import LEASE
from slipway.jobs.models import Job, JobState
from slipway.jobs.progress import LEASE_LOST
from slipway.jobs.queries import get_job, list_jobs, place
from slipway.jobs.services import cancel, may_retry, retry
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.errors import QuotaExceeded
from slipway.projects.models import Project, Resource
from slipway.projects.quotas import set_limit
from tests.factories import (
    digest,
    make_actor,
    make_container,
    make_image,
    make_library,
    make_project,
    make_user,
)
from tests.roads import RecordingRoad
from workers.messages import (
    BakeImage,
    CancelJob,
    DropLogs,
    Failure,
    ImportImage,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    LogsDropped,
)

pytestmark = pytest.mark.django_db


def administrator() -> Actor:
    return Actor(user=make_user(is_staff=True))


def queued(project: Project, actor: Actor, size: int = 10) -> Job:
    return import_image(actor, project, digest("archive"), repository="web", size=size)


def tell(job: Job, event: Any) -> Job:
    events.apply(event, job.node, timezone.now())
    job.refresh_from_db()
    return job


def world(builds: int = 1) -> tuple[Actor, Project]:
    project = make_project()
    set_limit(administrator(), project, Resource.BUILDS, builds)
    return make_actor(project.team), project


def test_a_job_over_the_quota_waits_and_goes_when_another_ends(road: RecordingRoad) -> None:
    actor, project = world()
    first, second, third = (queued(project, actor) for _ in range(3))
    assert [each.job for each in road.take() if isinstance(each, ImportImage)] == [first.hex]
    assert [job.waits_for for job in (first, second, third)] == ["slot", "quota", "quota"]
    tell(first, JobStarted(first.hex))
    assert road.take() == []
    tell(first, JobSucceeded(first.hex))
    assert [each.job for each in road.take() if isinstance(each, ImportImage)] == [second.hex]
    tell(second, JobFailed(second.hex, Failure("NO_SPACE", "full")))
    third.refresh_from_db()
    assert third.admitted_at is not None
    tell(third, JobCancelled(third.hex))
    assert ledger.used(project.pk) == {}


def test_a_raised_limit_lets_waiting_jobs_go(road: RecordingRoad) -> None:
    actor, project = world()
    for _ in range(3):
        queued(project, actor)
    road.take()
    set_limit(administrator(), project, Resource.BUILDS, 2)
    assert sweep.admit_jobs(timezone.now()) == 1
    assert len(road.take()) == 1


def test_without_any_slot_a_job_is_refused_rather_than_left_waiting() -> None:
    actor, project = world(builds=0)
    with pytest.raises(QuotaExceeded):
        queued(project, actor)
    assert not Job.objects.exists()


def test_a_queue_knows_its_places() -> None:
    actor, project = world(builds=5)
    jobs = [queued(project, actor) for _ in range(3)]
    tell(jobs[0], JobStarted(jobs[0].hex))
    found = list(list_jobs(actor, project))
    place(found)
    positions = {job.pk: job.position for job in found}
    assert [positions[job.pk] for job in jobs] == [None, 1, 2]
    Node.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert get_job(actor, jobs[1].hex).waits_for == "node"


# --------------------------------------------------------------------------- cancelling


def test_a_job_that_waits_for_quota_is_cancelled_at_once(road: RecordingRoad) -> None:
    actor, project = world()
    first, second = (queued(project, actor) for _ in range(2))
    road.take()
    assert cancel(actor, second).state == JobState.CANCELLED
    assert road.take() == []
    assert ledger.used(project.pk) == {"disk_bytes": 10, "builds": 1}
    assert first.is_active


def test_a_sent_job_is_cancelled_when_its_node_says_so(road: RecordingRoad) -> None:
    actor, project = world()
    job = queued(project, actor)
    tell(job, JobStarted(job.hex))
    road.take()
    for _ in range(2):
        cancel(actor, job)
    assert road.take() == [CancelJob(job.hex)]
    job.refresh_from_db()
    assert (job.state, job.is_active) == (JobState.RUNNING, True)
    tell(job, JobProgressed(job.hex, "Still unpacking"))
    assert sweep.resend_jobs(timezone.now() + timedelta(seconds=6)) == 1
    assert road.take() == [CancelJob(job.hex)]
    assert tell(job, JobCancelled(job.hex)).state == JobState.CANCELLED
    assert ledger.used(project.pk) == {}


def test_a_job_that_was_faster_than_the_wish_has_succeeded() -> None:
    actor, project = world()
    job = queued(project, actor)
    cancel(actor, job)
    assert tell(job, JobSucceeded(job.hex)).state == JobState.SUCCEEDED
    assert tell(job, JobCancelled(job.hex)).state == JobState.SUCCEEDED
    with pytest.raises(JobEnded):
        cancel(actor, job)


def test_a_viewer_cancels_and_retries_nothing() -> None:
    actor, project = world()
    job = queued(project, actor)
    viewer = make_actor(project.team, Role.VIEWER)
    for act in (cancel, retry):
        with pytest.raises(NotAllowed):
            act(viewer, job)


def test_a_cancelled_removal_leaves_the_image_usable() -> None:
    actor, project = world()
    image = make_image(project)
    job = remove_image(actor, image)
    cancel(actor, job)
    tell(job, JobCancelled(job.hex))
    image.refresh_from_db()
    assert not image.withdrawn
    again = retry(actor, job)
    image.refresh_from_db()
    assert image.withdrawn
    assert again.retry_of_id == job.pk


# --------------------------------------------------------------------------- retrying


def test_a_failed_job_is_done_again_as_a_new_one(road: RecordingRoad) -> None:
    make_library()
    admin = administrator()
    job = bake_image(admin, "busybox")
    with pytest.raises(JobActive):
        retry(admin, job)
    tell(job, JobFailed(job.hex, Failure("NO_SPACE", "full")))
    road.take()
    again = retry(admin, job)
    assert [each.job for each in road.take() if isinstance(each, BakeImage)] == [again.hex]
    assert again.subject == job.subject
    tell(again, JobSucceeded(again.hex))
    with pytest.raises(JobEnded):
        retry(admin, again)


def test_an_import_needs_its_archive_again() -> None:
    actor, project = world()
    job = queued(project, actor)
    tell(job, JobFailed(job.hex, Failure("NO_SPACE", "full")))
    assert not may_retry(job)
    with pytest.raises(NotRepeatable):
        retry(actor, job)


# --------------------------------------------------------------------------- leases


def test_each_word_of_a_running_job_renews_its_lease() -> None:
    actor, project = world()
    job = queued(project, actor)
    tell(job, JobStarted(job.hex))
    Job.objects.update(lease_until=timezone.now())
    tell(job, JobProgressed(job.hex, "Unpacking", 1, 2))
    assert job.lease_until is not None
    assert job.lease_until > timezone.now() + LEASE / 2
    tell(job, JobSucceeded(job.hex))
    assert job.lease_until is None


def lost(job: Job, silent: timedelta = timedelta(minutes=11)) -> Job:
    tell(job, JobStarted(job.hex))
    Job.objects.update(lease_until=timezone.now() - silent)
    return job


def test_a_lease_that_ended_sends_the_job_again(road: RecordingRoad) -> None:
    actor, project = world()
    job = lost(queued(project, actor), timedelta(seconds=1))
    road.take()
    now = timezone.now() + LEASE + timedelta(seconds=1)
    Node.objects.update(heartbeat_at=now)
    assert sweep.resend_jobs(now) == 1
    assert [each.job for each in road.take() if isinstance(each, ImportImage)] == [job.hex]
    assert sweep.give_up_jobs(now) == 0


def test_a_job_is_given_up_when_its_node_lives_and_has_told_everything(road: RecordingRoad) -> None:
    actor, project = world()
    job = lost(queued(project, actor))
    road.take()
    now = timezone.now()
    Node.objects.update(facts={"last_seq": 9}, applied_seq=8)
    assert sweep.give_up_jobs(now) == 0
    Node.objects.update(applied_seq=9, heartbeat_at=now - timedelta(minutes=5))
    assert sweep.give_up_jobs(now) == 0
    Node.objects.update(heartbeat_at=now)
    assert sweep.give_up_jobs(now) == 1
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert job.cause is not None
    assert job.cause["code"] == LEASE_LOST
    assert ledger.used(project.pk) == {}
    assert road.take() == [CancelJob(job.hex)]
    assert sweep.give_up_jobs(now) == 0


def test_what_a_lost_worker_says_in_the_end_is_believed() -> None:
    actor, project = world()
    job = lost(queued(project, actor))
    Node.objects.update(heartbeat_at=timezone.now())
    sweep.give_up_jobs(timezone.now())
    assert tell(job, JobSucceeded(job.hex)).state == JobState.SUCCEEDED
    assert job.cause is None


# --------------------------------------------------------------------------- handlers, logs


def test_a_kind_of_job_has_one_handler() -> None:
    for kind in ("image.import", "image.bake", "image.remove"):
        assert handlers.handler_of(kind).kind == kind
    with pytest.raises(ValueError, match="handler already"):
        handlers.register(handlers.Handler("image.bake"))


def test_logs_are_dropped_after_the_retention_and_until_the_node_says_so(
    road: RecordingRoad, settings: Any
) -> None:
    settings.SLIPWAY_LOG_RETENTION_DAYS = 14
    now = timezone.now()
    old = make_container(removed_at=now - timedelta(days=15))
    make_container(removed_at=now - timedelta(days=13))
    make_container()
    assert [sweep.drop_logs(now) for _ in range(2)] == [1, 0]
    assert road.take() == [DropLogs(old.id)]
    later = now + timedelta(hours=2)
    Node.objects.update(heartbeat_at=later)
    assert sweep.drop_logs(later) == 1
    events.apply(LogsDropped(old.id), old.node, now)
    old.refresh_from_db()
    assert old.logs_dropped_at == now
    assert sweep.drop_logs(later + timedelta(hours=2)) == 0
