"""How a node may speak to a registry for a project: decided when asked, secrets put in when it is sent."""

from __future__ import annotations

from dataclasses import replace

import structlog
from django.utils import timezone

from slipway.accounts import sealing
from slipway.catalog.home import plan_home_access, token_for, token_for_builds
from slipway.catalog.models import RegistryCredential
from slipway.catalog.registries import Registries
from slipway.jobs.handlers import JobCommand
from slipway.jobs.models import Job
from slipway.projects.models import Project
from workers.messages import PullImage, PushImage, RegistryAccess
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
    reference = Reference.parse(command.reference)
    if Registries.of_settings().is_ours(reference):
        return replace(command, access=replace(command.access, password=token_for(job, command, reference)))
    return replace(command, access=with_secret(job.project, reference, command.access))


def home_of_builds(job: Job) -> dict[str, RegistryAccess]:
    """Our own registry by its hosts, for what the stages of a build may begin from; with its token."""
    registries = Registries.of_settings()
    ours = replace(plan_home_access(registries), password=token_for_builds(job))
    return dict.fromkeys((*registries.own, registries.node), ours)


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
