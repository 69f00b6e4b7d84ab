"""Writes: builds as people wish them. What nodes tell of them is in ``builds.facts``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from slipway import dispatch
from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.builds.commands import SOURCE_FIELDS, command_of_build, credentials_in, limits_as_kept, sealed
from slipway.builds.facts import OUTPUT
from slipway.builds.models import Build, SourceKind
from slipway.builds.repeating import Again, docker_as_kept, repeated
from slipway.builds.requests import BuildRequest, plain_options
from slipway.hints import publish_project
from slipway.jobs import services as jobs
from slipway.jobs.models import Job, JobKind, JobState
from slipway.projects import ledger
from slipway.projects.models import Project, Resource
from workers.messages import BuildImage, DropBuild, PruneBuildCache

KEPT = "build"
"""The holder in the ledger of a context kept for retries."""
KEPT_FOR = timedelta(hours=23)
"""Nodes drop what nobody asked for after a day."""
DROP_AGAIN = timedelta(hours=1)
KEPT_MOST = 5
"""Of a project's contexts, the newest."""


def create_build(
    actor: Actor,
    project: Project,
    request: BuildRequest,
    *,
    retry_of: Build | None = None,
    context_kept: bool = False,
) -> Build:
    """Queue a build in the project; with a group, in the place of those of it that wait.

    ``context_kept``: the upload is the build's own, also for a retry, until it is let go. Raise ``NotFound``,
    ``NotAllowed``, ``InvalidBuild``, ``Unsupported``, ``InvalidReference``, ``QuotaExceeded``, ``NoNode``.
    """
    require(actor, Action.WRITE, project)
    request = request.checked()
    limits = request.limits(project.memory_bytes_max, project.cpu_millis_max, project.pids_max)
    with transaction.atomic():
        build = _row(project, request, retry_of)
        build.limits = limits_as_kept(limits)
        build.context_kept = context_kept
        build.job = _job(build, request)
        command = command_of_build(build)
        _take_the_place_of(actor, build)
        _queue(actor, build, command, request)
        record(actor, "build.create", build, number=build.number, **_told(build))
        publish_project(project.hex, "builds")
    return build


def _row(project: Project, request: BuildRequest, retry_of: Build | None) -> Build:
    # The project's row stands for its numbers; its key is not locked.
    Project.objects.select_for_update(of=("self",), no_key=True).get(pk=project.pk)
    last = Build.objects.filter(project=project).aggregate(last=Max("number"))["last"] or 0
    source = {name: value for name in SOURCE_FIELDS if (value := getattr(request.source, name))}
    if request.source.kind == SourceKind.UPLOAD:
        source |= {"name": request.name[:200], "size": request.size}
    return Build(
        project=project,
        number=last + 1,
        source_kind=request.source.kind,
        source=source,
        options=plain_options(request.options),
        secret_ids=sorted(request.options.secrets),
        sealed=sealed(request),
        credentials=credentials_in(request),
        timeout=request.timeout,
        queue_timeout=request.queue_timeout,
        docker=docker_as_kept(request.docker),
        group=request.group,
        retry_of=retry_of,
        notes=request.notes(),
    )


def _job(build: Build, request: BuildRequest) -> Job:
    job = jobs.new_job(JobKind.BUILD_IMAGE, f"#{build.number} {build.title}")
    job.project = build.project
    job.lock = f"build:{build.group}" if build.group else ""
    job.expires_at = timezone.now() + timedelta(seconds=request.queue_timeout)
    return job


def _queue(actor: Actor, build: Build, command: BuildImage, request: BuildRequest) -> None:
    if build.context_kept:
        ledger.reserve(build.project, KEPT, build.hex, {Resource.DISK.value: request.size})
    jobs.queue_job(actor, build.project, build.job, command)
    build.save(force_insert=True)


def _told(build: Build) -> dict[str, Any]:
    told: dict[str, Any] = {"source": build.source_kind, "tags": build.tags, "with": build.secret_ids}
    if build.source_kind in (SourceKind.GIT, SourceKind.URL):
        told |= {"url": build.source.get("url"), "ref": build.source.get("ref")}
    if build.group:
        told["group"] = build.group
    if build.retry_of is not None:
        told["retry_of"] = build.retry_of.number
    return told


def _take_the_place_of(actor: Actor, build: Build) -> None:
    """The latest of a group wins: those that wait give way, one that runs goes on to its end first."""
    if not build.group:
        return
    waiting = Build.objects.filter(
        project=build.project, group=build.group, job__state=JobState.QUEUED, job__cancel_requested_at=None
    )
    for older in waiting.select_related("job", "project__team"):
        cause = {
            "code": "BUILD_SUPERSEDED",
            "message": f"Build #{build.number} of the same group took its place.",
            "facts": {"build": build.number, "group": build.group},
        }
        Job.objects.filter(pk=older.job_id).update(cause=cause)
        jobs.cancel(actor, older.job)


def cancel(actor: Actor, build: Build) -> Build:
    """Wish the build ended. Safe to repeat. Raise ``NotFound``, ``NotAllowed``, ``JobEnded``."""
    build.job = jobs.cancel(actor, build.job)
    return build


def retry(actor: Actor, build: Build, **again: Any) -> Build:
    """A new build of the same source with the same options; an upload is the new one's from then on.

    ``again``: the fields of ``Again``. Raise as ``create_build`` does, ``JobActive``, ``SecretsNeeded``,
    ``ContextGone``.
    """
    require(actor, Action.WRITE, build)
    request = repeated(build, Again(**again))
    with transaction.atomic():
        is_kept = build.context_kept
        if is_kept:
            _let_go(build)
        return create_build(actor, build.project, request, retry_of=build, context_kept=is_kept)


def check_retry(actor: Actor, build: Build, **again: Any) -> None:
    """Raise what ``retry`` would, before the node is asked to keep anything."""
    require(actor, Action.WRITE, build)
    repeated(build, Again(**again))


def prune(actor: Actor, project: Project) -> Job:
    """Have the node forget what it keeps for the next builds. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.WRITE, project)
    job = jobs.new_job(JobKind.PRUNE_BUILDS, "build cache")
    with transaction.atomic():
        jobs.queue_job(actor, project, job, PruneBuildCache(job=job.hex, scope=project.hex))
        record(actor, "build.prune", project)
    return job


def may_retry(build: Build) -> bool:
    """Whether ``retry`` would find all it needs, people's secrets apart."""
    return not build.is_active and (build.source_kind != SourceKind.UPLOAD or build.context_kept)


# --------------------------------------------------------------------------- contexts kept for retries


def surplus(project: Project) -> list[Build]:
    """Ended builds whose context need not be kept any longer: the project has newer ones."""
    kept = Build.objects.filter(project=project, context_kept=True).select_related("job").order_by("-number")
    return [build for build in kept[KEPT_MOST:] if not build.is_active]


def let_go(builds: Iterable[Build]) -> None:
    """The contexts of ``builds`` are no longer kept; safe to repeat."""
    with transaction.atomic():
        for build in builds:
            _let_go(build)


def _let_go(build: Build) -> None:
    Build.objects.filter(pk=build.pk).update(context_kept=False)
    build.context_kept = False
    ledger.release(KEPT, build.hex)


def forget_contexts(now: datetime) -> int:
    """Let go what nodes drop by themselves after a day. How many."""
    old = list(Build.objects.filter(context_kept=True, created_at__lt=now - KEPT_FOR)[:200])
    let_go(old)
    return len(old)


def forget_outputs(now: datetime) -> int:
    """Let go tars that nodes drop by themselves a day after they were made. How many."""
    old = list(Build.objects.filter(output_kept=True, job__ended_at__lt=now - KEPT_FOR)[:200])
    with transaction.atomic():
        for build in old:
            Build.objects.filter(pk=build.pk).update(output_kept=False)
            ledger.release(OUTPUT, build.hex)
    return len(old)


def drop_old(now: datetime) -> int:
    """Tell nodes to drop what is left of builds that ended long ago, until they say it is gone."""
    ended = Build.objects.filter(
        job__ended_at__lt=now - timedelta(days=settings.SLIPWAY_LOG_RETENTION_DAYS), dropped_at=None
    )
    due = ended.filter(Q(drop_at=None) | Q(drop_at__lte=now)).select_related("job__node")
    sent = 0
    for build in due.order_by("created_at")[:200]:
        if build.job.node.is_live(now):
            Build.objects.filter(pk=build.pk).update(drop_at=now + DROP_AGAIN)
            sent += dispatch.send_now(DropBuild(build.hex), build.job.node)
    return sent
