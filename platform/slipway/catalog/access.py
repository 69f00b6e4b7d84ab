"""How a node may speak to a registry for a project: decided when asked, secrets put in when it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog
from django.utils import timezone

from slipway.accounts import sealing
from slipway.catalog.home import plan_home_access, token_for, token_for_builds
from slipway.catalog.models import RegistryCredential
from slipway.catalog.registries import Registries
from slipway.catalog.statements import statement_of
from slipway.jobs.handlers import JobCommand
from slipway.jobs.models import Job
from slipway.projects.models import Project
from workers.errors import InvalidReference
from workers.messages import BuildOptions, PullImage, PushImage, RegistryAccess
from workers.oci.reference import Reference

log = structlog.get_logger(__name__)


def plan_access(project: Project, reference: Reference, registries: Registries) -> RegistryAccess:
    """The access as a job keeps it: with the account, without its secret. For registries of others."""
    credential = RegistryCredential.objects.filter(project=project, host=reference.registry).first()
    return RegistryAccess(
        username=credential.username if credential else None,
        plain_http=registries.speaks_plain_http(reference.registry),
        mirrors=registries.mirrors_of(reference.registry),
        allow_private=registries.may_be_private(reference.registry),
    )


def complete(job: Job, command: JobCommand) -> JobCommand:
    """``command`` with the secrets its access needs now. Raise ``Unreadable``."""
    if not isinstance(command, PullImage | PushImage):
        return command
    if isinstance(command, PushImage):
        command = replace(command, provenance=statement_of(command.scope, command.image_id))
    reference = Reference.parse(command.reference)
    if Registries.of_settings().is_ours(reference):
        return replace(command, access=replace(command.access, password=token_for(job, command, reference)))
    return replace(command, access=with_secret(job.project, reference, command.access))


def home_of_builds(job: Job, options: BuildOptions) -> dict[str, RegistryAccess]:
    """Our own registry by its hosts, for what a build begins from and where its cache goes; with a token."""
    registries = Registries.of_settings()
    caches = _cache_repositories(options.cache_to, registries)
    ours = replace(plan_home_access(registries), password=token_for_builds(job, caches))
    return dict.fromkeys((*registries.own, registries.node), ours)


def _cache_repositories(targets: Iterable[str], registries: Registries) -> list[str]:
    """Of ``web:cache`` or ``type=registry,ref=web:cache``, as far as they lie in our own registry."""
    found = []
    for text in targets:
        named = [part[4:] for part in text.split(",") if part.startswith("ref=")] or [text]
        try:
            reference = Reference.parse(named[0])
        except InvalidReference:  # the node says what is wrong with it
            continue
        if registries.is_ours(reference):
            found.append(reference.repository)
    return found


def with_secret(project: Project, reference: Reference, access: RegistryAccess) -> RegistryAccess:
    """An account that was taken away or changed meanwhile is none: the registry is asked as anybody.

    Raise ``Unreadable``.
    """
    if access.username is None:
        return access
    held = RegistryCredential.objects.filter(
        project=project, host=reference.registry, username=access.username
    )
    credential = held.first()
    if credential is None:
        log.warning("registry_credential_gone", project=project.hex, host=reference.registry)
        return replace(access, username=None, password=None)
    held.update(used_at=timezone.now())
    return replace(access, password=sealing.unseal(credential.sealed_secret))
