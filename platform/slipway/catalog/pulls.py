"""Pulling: an image of a registry becomes one of a project."""

from __future__ import annotations

import re

from django.db import transaction
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.access import plan_access
from slipway.catalog.home import plan_home_access, require_pull
from slipway.catalog.registries import Registries
from slipway.catalog.upstream import recall
from slipway.jobs.models import Job, JobKind
from slipway.jobs.services import new_job, queue_job
from slipway.projects.models import Project, Resource
from workers.messages import PullImage
from workers.oci.reference import Reference

_PLATFORM = re.compile(r"[a-z0-9]{1,20}/[a-z0-9_]{1,20}(?:/[a-z0-9.]{1,20})?")


def pull_image(
    actor: Actor, project: Project, name: str, *, platform: str | None = None, refresh: bool = False
) -> Job:
    """Pull ``name`` into the project's list.

    A tag that was asked for a moment ago is not asked for again unless ``refresh``; our own registry always
    is. Raise ``NotFound``, ``NotAllowed``, ``InvalidReference``, ``InvalidRequest``, ``NoSuchRepository``,
    ``RegistryNotAllowed``, ``QuotaExceeded``, ``NoNode``.
    """
    require(actor, Action.WRITE, project)
    reference = Reference.parse(name)
    if platform is not None and not _PLATFORM.fullmatch(platform):
        raise InvalidRequest(
            f"platform: {platform[:60]!r} is none; linux/amd64 or linux/arm64 are.", field="platform"
        )
    job = new_job(JobKind.PULL_IMAGE, reference.familiar)
    registries = Registries.of_settings()
    with transaction.atomic():
        if registries.is_ours(reference):
            require_pull(actor, reference)
            command = _of_ours(project, reference, job, platform, registries)
        else:
            registries.require_allowed(reference)
            command = _of_others(project, reference, job, platform, registries, refresh=refresh)
        # How much it will take is known when it is here; a project that is full already is told so now.
        queue_job(actor, project, job, command, {Resource.DISK.value: 1})
        record(actor, "image.pull", project, reference=str(reference), platform=platform or "")
    return job


def _of_ours(
    project: Project, reference: Reference, job: Job, platform: str | None, registries: Registries
) -> PullImage:
    return PullImage(
        job=job.hex,
        scope=project.hex,
        reference=str(registries.as_reached(reference)),
        names=_names(reference),
        platform=platform,
        access=plan_home_access(registries),
    )


def _of_others(
    project: Project,
    reference: Reference,
    job: Job,
    platform: str | None,
    registries: Registries,
    *,
    refresh: bool,
) -> PullImage:
    known = recall(project, reference, platform, fresh=registries.fresh, now=timezone.now(), refresh=refresh)
    return PullImage(
        job=job.hex,
        scope=project.hex,
        reference=str(reference),
        names=_names(reference),
        platform=platform,
        access=plan_access(project, reference, registries),
        shared_scope=known.scope,
        known_digest=known.digest,
        fallback_digest=known.fallback,
    )


def _names(reference: Reference) -> tuple[str, ...]:
    """As docker does: what is pulled by digest gets no tag."""
    return () if reference.digest is not None else (reference.familiar,)
