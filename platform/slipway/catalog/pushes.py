"""Pushing: an image of a project's list goes to a registry."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.access import plan_access
from slipway.catalog.home import plan_home_access, require_push
from slipway.catalog.models import Image
from slipway.catalog.registries import Registries
from slipway.jobs.models import Job, JobKind
from slipway.jobs.services import new_job, queue_job
from slipway.projects.models import Project
from workers.errors import InvalidReference, NoSuchImage
from workers.messages import PushImage, RegistryAccess
from workers.oci.reference import DEFAULT_REGISTRY, OFFICIAL, Reference

COMPRESSIONS = ("gzip", "zstd")


def push_image(actor: Actor, project: Project, image: Image, name: str, *, compression: str = "gzip") -> Job:
    """Push ``image``, of the project or of the library, to ``name``.

    A bare ``web:1`` means the project's own repository. Raise ``NotFound``, ``NotAllowed``,
    ``InvalidReference``, ``NoSuchImage`` (withdrawn meanwhile), ``RegistryNotAllowed``, ``NoNode``.
    """
    require(actor, Action.WRITE, project)
    require(actor, Action.READ, image)
    registries = Registries.of_settings()
    reference = parse_target(project, name, registries)
    job = new_job(JobKind.PUSH_IMAGE, reference.familiar)
    with transaction.atomic():
        if not Image.objects.select_for_update().filter(pk=image.pk, withdrawn=False).exists():
            raise NoSuchImage("The image was removed just now.", image=image.image_id)
        command = PushImage(
            job=job.hex,
            scope=image.project_id.hex,
            image_id=image.image_id,
            reference=str(registries.as_reached(reference)),
            access=_access(actor, project, reference, registries),
            compression=compression,
        )
        queue_job(actor, project, job, command)
        record(actor, "image.push", image, reference=str(reference))
    return job


def _access(actor: Actor, project: Project, reference: Reference, registries: Registries) -> RegistryAccess:
    if registries.is_ours(reference):
        require_push(actor, reference)
        return plan_home_access(registries)
    registries.require_allowed(reference)
    return replace(plan_access(project, reference, registries), mirrors=())


def parse_target(project: Project, name: str, registries: Registries) -> Reference:
    """Where ``name`` leads. Raise ``InvalidReference``."""
    reference = Reference.parse(name)
    if reference.digest is not None or reference.tag is None:
        raise InvalidReference(
            f"{name[:160]!r}: an image is pushed to a tag, not to a digest.", reference=name[:160]
        )
    bare = reference.repository.removeprefix(OFFICIAL)
    if reference.registry == DEFAULT_REGISTRY and "/" not in bare and not _names_registry(name):
        # docker.io's own names are nobody's to push to: what was meant is the repository at home.
        return replace(reference, registry=registries.own[0], repository=f"{project.path}/{bare}")
    return reference


def _names_registry(name: str) -> bool:
    return name.startswith((f"{DEFAULT_REGISTRY}/", "index.docker.io/"))
