"""What nodes tell of builds, written to the rows. The caller holds a transaction."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from slipway.builds.models import Build, BuildStep, StepState
from slipway.hints import Hint, project_hint
from slipway.ids import parse_id
from slipway.jobs import progress
from slipway.nodes.models import Node
from slipway.projects import ledger
from slipway.projects.models import Resource
from workers.messages import BuildDropped, BuildFinished, BuildProgressed, StepFacts

log = structlog.get_logger(__name__)

STEPS_MAX = 2000
"""Kept of a build; those that failed in any case. How many there are is kept with it."""
WARNINGS_MAX = 500
OUTPUT = "output"
"""The holder in the ledger of a tar that a build made."""
COLUMNS = ("position", "stage", "name", "state", "started_at", "ended_at", "reason", "progress")
Hints = tuple[Hint, ...]


def progressed(event: BuildProgressed, node: Node) -> Hints:
    """Write the steps that changed. What a lower attempt says than one heard of already is passed over."""
    build = _find(event.build, event.job, node)
    if build is None or event.attempt < build.attempt:
        return ()
    progress.go_on(event.job, node)
    total = max(event.total, len(event.steps))
    is_anew = event.fresh or event.attempt > build.attempt
    if is_anew or total > build.steps_total:
        Build.objects.filter(pk=build.pk).update(attempt=event.attempt, steps_total=total)
    kept = [each for each in event.steps if each.id <= STEPS_MAX or each.state == StepState.FAILED]
    gone = is_anew and _forget_others(build, kept)
    return _told(build) if _write_steps(build, kept) or gone else ()


def _forget_others(build: Build, told: list[StepFacts]) -> bool:
    """An attempt begins: what another one said of steps is no more. Whether there was any."""
    return bool(build.steps.exclude(number__in=[facts.id for facts in told]).delete()[0])


def _write_steps(build: Build, told: list[StepFacts]) -> bool:
    """Whether anything changed."""
    known = {step.number: step for step in build.steps.filter(number__in=[facts.id for facts in told])}
    new, changed = [], []
    for facts in told:
        step = _step(build, facts)
        before = known.get(facts.id)
        if before is None:
            new.append(step)
        elif any(getattr(before, name) != getattr(step, name) for name in COLUMNS):
            step.pk = before.pk
            changed.append(step)
    BuildStep.objects.bulk_create(new)
    if changed:
        BuildStep.objects.bulk_update(changed, COLUMNS)
    return bool(new or changed)


def _step(build: Build, facts: StepFacts) -> BuildStep:
    return BuildStep(
        build=build,
        number=facts.id,
        position=facts.id,
        stage=facts.stage[:160],
        name=facts.name[:4000],
        state=facts.state if facts.state in StepState.values else StepState.WAITING,
        started_at=_time(facts.started_at),
        ended_at=_time(facts.ended_at),
        reason=facts.reason[:4000],
        progress=facts.progress[:200],
    )


def finished(event: BuildFinished, node: Node) -> Hints:
    """Write the result. The first that comes stands: a job has one outcome, whichever attempt it is of."""
    build = _find(event.build, event.job, node)
    if build is None or not build.is_active:
        return ()
    Build.objects.filter(pk=build.pk).update(
        attempt=max(build.attempt, event.attempt),
        image_id=event.image_id or "",
        manifest_digest=event.manifest_digest or "",
        output=event.output or "",
        output_size=event.output_size,
        output_kept=event.output_size > 0,
        warnings=[warning[:2000] for warning in event.warnings[:WARNINGS_MAX]],
        provenance=event.provenance,
    )
    ledger.settle(build.project_id, OUTPUT, build.hex, {Resource.DISK.value: event.output_size})
    return _told(build)


def dropped(event: BuildDropped, node: Node, at: datetime) -> Hints:
    if key := parse_id(event.build):
        gone = Build.objects.filter(pk=key, job__node=node, drop_at__isnull=False)
        gone.filter(dropped_at=None).update(dropped_at=at)
    return ()


def _find(build_id: str, job_id: str, node: Node) -> Build | None:
    key = parse_id(build_id)
    found = Build.objects.select_related("job").filter(pk=key, job__node=node).first() if key else None
    if found is None or found.job.hex != job_id:
        log.warning("event_of_unknown_build", build=build_id, job=job_id)
        return None
    return found


def _told(build: Build) -> Hints:
    return (project_hint(build.project_id.hex, "builds"),)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
