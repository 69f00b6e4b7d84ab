"""What templates say in few words: icons, ages, figures, states."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from slipway.builds.models import Build, BuildStep
from slipway.console import figures, looks
from slipway.containers.models import Container
from slipway.jobs.models import Job, LayerState
from slipway.repositories.models import Repository

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing of ``static/icons.txt``; decoration only, so hidden from assistive technology."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("vendor/icons.svg"),
        name,
    )


@register.simple_tag
def age(at: datetime | None) -> SafeString | str:
    """How long ago, with the exact time on hover; ages.js keeps it true."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}" data-age>{}</time>',
        at.isoformat(),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        figures.age_text(at, timezone.now()),
    )


@register.filter
def binary_size(size: int | None) -> str:
    return figures.size_text(size)


@register.filter
def cpus(millis: int) -> str:
    return figures.cpu_text(millis)


@register.filter
def short_digest(digest: str) -> str:
    """Twelve digits, as Docker shows ids."""
    return digest.rpartition(":")[2][:12]


@register.filter
def repository_key(repository: Repository) -> str:
    """What its address calls it: its name, or its id where that has slashes."""
    return repository.hex if "/" in repository.name else repository.name


@register.filter
def look(subject: Container | Job | Build | BuildStep) -> looks.Look:
    match subject:
        case Container():
            return looks.container_look(subject)
        case Build():
            return looks.build_look(subject)
        case BuildStep():
            return looks.step_look(subject)
    return looks.job_look(subject)


@register.filter
def seconds(value: float | None) -> str:
    """To one decimal, as people read how long a step took."""
    return "" if value is None else figures.duration_text(value)


@register.filter
def layer_look(layer: LayerState) -> looks.Look:
    return looks.layer_look(layer)


@register.filter
def cause(container: Container) -> looks.Cause | None:
    return looks.container_cause(container, timezone.now())


@register.filter
def took(subject: Any) -> str:
    """From start to end, or until now, of a container or a job."""
    end = subject.finished_at if isinstance(subject, Container) else subject.ended_at
    if subject.started_at is None:
        return "—"
    return figures.duration_text(((end or timezone.now()) - subject.started_at).total_seconds())


@register.filter
def percent(job: Job) -> int | None:
    """How far, where the node can tell."""
    return min(100, round(100 * job.done / job.total)) if job.total else None


@register.filter
def marked(facts: dict[str, Any]) -> str:
    """The line of a Dockerfile at fault with a marker below the spot; empty where none is known."""
    text, marker = facts.get("text"), facts.get("marker")
    if not isinstance(text, str) or not isinstance(marker, str):
        return ""
    number = str(facts.get("line") or "")
    return f"{number} | {text}\n{' ' * len(number)} | {marker}"


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
