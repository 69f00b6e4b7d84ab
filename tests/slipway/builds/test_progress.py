"""What nodes tell of builds, and what follows when they fall silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from slipway import drift, sweep
from slipway.accounts.actors import OPERATOR
from slipway.builds import services
from slipway.builds.facts import STEPS_MAX
from slipway.builds.models import Build
from slipway.builds.queries import get_build
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.models import Resource
from slipway.projects.quotas import set_limit
from tests.factories import (
    digest,
)
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import (
    CANARY,
    begin,
    create,
    progress,
    sent,
    states,
    succeed,
    tell,
    text,
    world,
)
from workers.messages import (
    BuildFinished,
    BuildProgressed,
    CancelJob,
    Failure,
    JobCancelled,
    JobFailed,
    JobProgressed,
    StepFacts,
)

pytestmark = pytest.mark.django_db


def test_steps_are_the_record_and_a_lower_attempt_changes_nothing() -> None:
    actor, project = world()
    build = begin(services.create_build(actor, project, text()))
    build = progress(build, 1, "done", "running", "waiting")
    assert states(build) == ["done", "running", "waiting"]
    build = progress(build, 2, "cached", "running", "waiting")
    build = progress(build, 1, "done", "failed", "waiting")
    assert states(build) == ["cached", "running", "waiting"]
    assert build.attempt == 2


def test_steps_are_told_by_what_changed_and_another_run_begins_anew() -> None:
    build = begin(services.create_build(*world(), text()))

    def hear(attempt: int, *told: tuple[int, str], **more: Any) -> Build:
        facts = tuple(
            StepFacts(id=number, stage="", name=f"[{number}]", state=state) for number, state in told
        )
        return tell(build, BuildProgressed(build.job.hex, build.hex, attempt, facts, **more))

    hear(1, (1, "running"), (2, "waiting"), (3, "waiting"), total=3, fresh=True)
    build = hear(1, (2, "running"), (1, "done"), total=3)
    assert states(build) == ["done", "running", "waiting"]
    # The same attempt taken up by the next worker.
    build = hear(1, (1, "cached"), total=1, fresh=True)
    assert (states(build), build.steps_total) == (["cached"], 1)
    build = hear(1, (2, "running"), total=2)
    build = hear(2, (1, "running"), total=1, fresh=True)
    assert (states(build), build.attempt) == (["running"], 2)


def test_of_very_many_steps_the_first_and_those_that_failed_are_kept() -> None:
    build = begin(services.create_build(*world(), text()))
    for first in range(1, STEPS_MAX + 401, 200):
        facts = tuple(StepFacts(number, "", f"[{number}]", "waiting") for number in range(first, first + 200))
        event = BuildProgressed(build.job.hex, build.hex, 1, facts, STEPS_MAX + 400, fresh=first == 1)
        build = tell(build, event)
    assert (build.steps.count(), build.steps_total) == (STEPS_MAX, STEPS_MAX + 400)
    failed = (StepFacts(STEPS_MAX + 7, "", "RUN false", "failed"),)
    build = tell(build, BuildProgressed(build.job.hex, build.hex, 1, failed, STEPS_MAX + 400))
    assert build.steps.last() == build.steps.get(state="failed")


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


def test_an_output_counts_to_the_projects_disk_for_a_day(road: RecordingRoad) -> None:
    who = world()
    set_limit(OPERATOR, who[1], Resource.DISK, 1000)
    build = create(road, who, text(output="tar"))
    image = create(road, who)
    tar, other = sent(road)
    assert (tar.output_max, other.output_max) == (1000, None)
    event = BuildFinished(build.job.hex, build.hex, 1, output=digest("tar"), output_size=700)
    build = succeed(tell(begin(build), event))
    assert (build.output, ledger.used(who[1].pk)["disk_bytes"]) == (digest("tar"), 700)
    create(road, who, text(output="files"))
    succeed(begin(image))
    road.commit()
    assert sent(road)[-1].output_max == 300
    assert drift.reconcile(dry_run=True) == 0
    assert services.forget_outputs(timezone.now() + timedelta(hours=22)) == 0
    assert services.forget_outputs(timezone.now() + timedelta(hours=24)) == 1
    assert "disk_bytes" not in ledger.used(who[1].pk)
    assert drift.reconcile(dry_run=True) == 0


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
