"""The builds' kind of job."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from slipway.builds.commands import complete
from slipway.builds.models import Build, BuildStep, StepState
from slipway.jobs.handlers import Handler, never_again, register
from slipway.jobs.models import Job, JobKind, JobState

LEASE = timedelta(seconds=10)
"""Two signs of life are missed; with the sweep's three seconds a silent worker is noticed within fifteen."""


def register_all() -> None:
    """Safe to repeat."""
    register(BUILD)
    register(PRUNE)


def _ended(job: Job) -> None:
    """Secrets go; steps that never ended say how it was."""
    Build.objects.filter(job=job.pk).exclude(sealed="").update(sealed="")
    if job.state == JobState.SUCCEEDED:
        return
    steps = BuildStep.objects.filter(build__job=job.pk)
    failed = steps.filter(state=StepState.FAILED).exists()
    is_failure = job.state == JobState.FAILED and not failed
    running = StepState.FAILED if is_failure else StepState.CANCELLED
    if job.state == JobState.CANCELLED:
        # Its process was killed; that is no failure of the step.
        steps.filter(state=StepState.FAILED).update(state=StepState.CANCELLED)
    steps.filter(state=StepState.RUNNING).update(state=running, ended_at=timezone.now())
    steps.filter(state=StepState.WAITING).update(state=StepState.SKIPPED)


BUILD = Handler(
    JobKind.BUILD_IMAGE,
    is_build=True,
    # A build is repeated as a build, by ``builds.services.retry``.
    again=never_again,
    complete=complete,
    needs_slot=True,
    lease=LEASE,
    is_fenced=True,
    ended=_ended,
)
PRUNE = Handler(JobKind.PRUNE_BUILDS)
