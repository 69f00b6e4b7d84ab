"""Writes: templates, for administrators; and what is run from one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidName, NameTaken, NotAllowed
from slipway.audit.services import record
from slipway.containers import services as containers
from slipway.containers.models import Container
from slipway.containers.requests import MEMORY_MIN, ContainerRequest
from slipway.containers.shown import HIDDEN_ENV
from slipway.projects.models import Project
from slipway.templates.errors import InvalidTemplate
from slipway.templates.fields import fill, parse_fields
from slipway.templates.models import Template
from slipway.templates.queries import fields_of, may_edit
from workers.oci.reference import Reference

LABEL = "slipway.template"
ICONS = (
    "package",
    "database",
    "network",
    "terminal-2",
    "world",
    "server",
    "box",
    "stack-2",
    "activity",
    "key",
    "mail",
)
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PATH = re.compile(r"/[^\0]{1,4094}")
LISTED_MAX = 40


@dataclass(frozen=True)
class Draft:
    """What an administrator says of a template."""

    slug: str
    name: str
    image: str
    description: str = ""
    category: str = ""
    icon: str = "package"
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    fields: tuple[Mapping[str, Any], ...] = ()
    ports: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Launched:
    container: Container
    generated: Mapping[str, str] = field(default_factory=dict)
    """Secrets made for it. They are kept nowhere but in the container's environment."""


def create_template(actor: Actor, draft: Draft) -> Template:
    """Raise ``NotAllowed``, ``InvalidName``, ``NameTaken``, ``InvalidTemplate``, ``InvalidReference``."""
    _require_editor(actor)
    template = Template()
    _write(template, draft)
    try:
        with transaction.atomic():
            template.save(force_insert=True)
            record(actor, "template.create", template, after=_told(template))
    except IntegrityError as error:
        raise NameTaken(f"There is a template {draft.slug!r} already.", name=draft.slug) from error
    return template


def change_template(actor: Actor, template: Template, draft: Draft) -> Template:
    """All of it, with ``draft`` in the place of what was. Raise as ``create_template`` does."""
    _require_editor(actor)
    try:
        with transaction.atomic():
            row = Template.objects.select_for_update().get(pk=template.pk)
            before = _told(row)
            _write(row, draft)
            row.save()
            record(actor, "template.change", row, before=before, after=_told(row))
    except IntegrityError as error:
        raise NameTaken(f"There is a template {draft.slug!r} already.", name=draft.slug) from error
    return row


def remove_template(actor: Actor, template: Template) -> None:
    """Containers run from it stay. Raise ``NotAllowed``."""
    _require_editor(actor)
    with transaction.atomic():
        Template.objects.filter(pk=template.pk).delete()
        record(actor, "template.remove", template, before=_told(template))


def run_template(
    actor: Actor,
    project: Project,
    template: Template,
    values: Mapping[str, str],
    *,
    name: str | None = None,
) -> Launched:
    """A container of it, on its way to run. Raise ``InvalidValue``, and as ``create_container`` does."""
    filled = fill(fields_of(template), values)
    labels = {LABEL: template.slug}
    if filled.secret_names:
        labels[HIDDEN_ENV] = " ".join(filled.secret_names)
    request = ContainerRequest(
        image=template.image,
        name=name,
        entrypoint=_words(template.entrypoint),
        command=_words(template.command),
        env=filled.env,
        labels=labels,
        memory_bytes=template.memory_bytes,
        start=True,
    )
    return Launched(containers.create_container(actor, project, request), filled.generated)


def _words(stored: list[str] | None) -> tuple[str, ...] | None:
    return None if stored is None else tuple(stored)


def _require_editor(actor: Actor) -> None:
    if not may_edit(actor):
        raise NotAllowed("Only administrators keep templates.")


def _write(template: Template, draft: Draft) -> None:
    _check(draft)
    template.slug, template.name, template.description = draft.slug, draft.name, draft.description
    template.category, template.icon, template.image = draft.category, draft.icon, draft.image
    template.entrypoint = None if draft.entrypoint is None else list(draft.entrypoint)
    template.command = None if draft.command is None else list(draft.command)
    template.fields = [each.stored() for each in parse_fields(draft.fields)]
    template.ports = [dict(port) for port in draft.ports]
    template.volumes = [dict(volume) for volume in draft.volumes]
    template.memory_bytes = draft.memory_bytes
    template.updated_at = timezone.now()


def _check(draft: Draft) -> None:
    if not _SLUG.fullmatch(draft.slug) or not 2 <= len(draft.slug) <= 60:
        raise InvalidName(
            f"{draft.slug[:80]!r}: 2 to 60 lower-case letters, digits and single hyphens are needed.",
            field="slug",
        )
    if not draft.name.strip():
        raise InvalidTemplate("name: how should people read it?", field="name")
    if draft.icon not in ICONS:
        raise InvalidTemplate(f"icon: one of {', '.join(ICONS)} is needed.", field="icon")
    Reference.parse(draft.image)
    if draft.memory_bytes is not None and draft.memory_bytes < MEMORY_MIN:
        raise InvalidTemplate(f"memory_bytes: at least {MEMORY_MIN} is needed.", field="memory_bytes")
    if max(len(draft.ports), len(draft.volumes)) > LISTED_MAX:
        raise InvalidTemplate(f"At most {LISTED_MAX} ports and volumes are allowed.", field="ports")
    for port in draft.ports:
        if not 1 <= port["container"] <= 65535 or port["protocol"] not in ("tcp", "udp"):
            raise InvalidTemplate("ports: a number from 1 to 65535, and tcp or udp.", field="ports")
    for volume in draft.volumes:
        if not _PATH.fullmatch(volume["path"]):
            raise InvalidTemplate(f"volumes: {volume['path'][:80]!r} is no absolute path.", field="volumes")


def _told(template: Template) -> dict[str, Any]:
    """For the audit log: a template has no secrets, only the forms of them."""
    return {
        "slug": template.slug,
        "image": template.image,
        "command": template.command,
        "fields": [each["name"] for each in template.fields],
    }
