"""Names in a project's local image list: given, moved and taken away, as on a Docker host."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.models import Image, Reference
from slipway.catalog.services import parse_name
from slipway.hints import publish_project
from slipway.projects.models import Project
from workers.errors import NoSuchImage


def tag_image(actor: Actor, project: Project, image: Image, name: str) -> Reference:
    """Let ``name`` mean ``image`` in ``project``, away from what it meant. Safe to repeat.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidReference``, ``NoSuchImage`` (gone, or of the library).
    """
    require(actor, Action.WRITE, project)
    given = parse_name(name, None)
    if image.project_id != project.pk:
        raise NoSuchImage(
            f"{given.familiar}: the image is the library's, not one of {project.path}'s own. "
            "It can be run and pushed from here as it is.",
            image=image.image_id,
        )
    with transaction.atomic():
        if not Image.objects.select_for_update().filter(pk=image.pk, withdrawn=False).exists():
            raise NoSuchImage("The image was removed just now.", image=image.image_id)
        held = Reference.objects.filter(project=project, name=given.familiar_name, tag=given.tag)
        before = held.values_list("image__image_id", flat=True).first()
        reference, _ = Reference.objects.update_or_create(
            project=project,
            name=given.familiar_name,
            tag=given.tag or "",
            defaults={"image": image, "updated_at": timezone.now()},
        )
        publish_project(project.hex, "images")
        now = {"image": image.image_id}
        record(actor, "image.tag", image, before={"image": before}, after=now, reference=str(reference))
    return reference


def untag_image(actor: Actor, project: Project, name: str, image: Image | None = None) -> Image:
    """Take ``name`` (of ``image``, if given) away; the image stays, under its id if it has no other name.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidReference``, ``NoSuchImage`` (no such name).
    """
    require(actor, Action.WRITE, project)
    given = parse_name(name, None)
    with transaction.atomic():
        held = Reference.objects.filter(project=project, name=given.familiar_name, tag=given.tag)
        reference = held.select_related("image__project__team").first()
        if reference is None or (image is not None and reference.image_id != image.pk):
            whose = project.path if image is None else f"The image {image.short_id}"
            raise NoSuchImage(f"{whose} has no name {given.familiar}.", image=given.familiar[:160])
        named = reference.image
        reference.delete()
        publish_project(project.hex, "images")
        record(actor, "image.untag", named, before={"image": named.image_id}, reference=given.familiar)
    return named
