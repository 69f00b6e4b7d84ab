"""Reads: images, their layers, history and what they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.policy import Action, can, require
from slipway.catalog.errors import AmbiguousImage
from slipway.catalog.models import Image, ImageLayer, Reference
from slipway.catalog.sizes import neighbours
from slipway.ids import parse_id
from slipway.projects.models import Project
from slipway.projects.queries import find_library
from workers.errors import NoSuchImage
from workers.oci import reference as oci

_ID = re.compile(r"(?:(?P<algorithm>sha256|sha512):)?(?P<hex>[0-9a-f]{6,128})")


@dataclass(frozen=True)
class HistoryEntry:
    """A line of an image's history, oldest first."""

    created: str | None
    created_by: str
    comment: str
    empty: bool
    layer: ImageLayer | None
    """None for a line that made no layer."""


@dataclass(frozen=True)
class LayerUse:
    layer: ImageLayer
    shared_with: tuple[str, ...] = ()
    """Other images the project can see, by name or short id."""


@dataclass(frozen=True)
class Sharing:
    """How much of an image other images of its project (and the library) hold as well."""

    layers: tuple[LayerUse, ...] = field(default=())

    @property
    def shared_size(self) -> int:
        return sum(use.layer.unpacked_size for use in self.layers if use.shared_with)

    @property
    def unique_size(self) -> int:
        return sum(use.layer.unpacked_size for use in self.layers if not use.shared_with)


def list_images(
    actor: Actor, project: Project, *, name: str | None = None, dangling: bool | None = None
) -> QuerySet[Image]:
    """Images of the project, newest first, with ``references``, ``origins`` and ``layers`` loaded.

    ``name`` without a tag, as in references; ``dangling`` ones have no name. Raise ``NotFound``,
    ``InvalidReference``.
    """
    require(actor, Action.READ, project)
    images = _loaded().filter(project=project, withdrawn=False)
    if name is not None:
        held = Reference.objects.filter(project=project, name=oci.Reference.parse(name).familiar_name)
        images = images.filter(pk__in=held.values("image"))
    if dangling is not None:
        named = Reference.objects.filter(image=OuterRef("pk"))
        images = images.filter(~Exists(named) if dangling else Exists(named))
    return images.order_by("-created_at", "-id")


def count_containers(images: Iterable[Image]) -> dict[UUID, int]:
    """Image's key to how many unremoved containers are made from it; one query."""
    keys = [image.pk for image in images]
    held = Image.objects.filter(pk__in=keys, containers__removed_at=None, containers__isnull=False)
    return dict(held.order_by().values_list("pk").annotate(Count("containers")))


def get_image(actor: Actor, image_id: str) -> Image:
    """By row id. Raise ``NotFound``."""
    key = parse_id(image_id)
    image = _loaded().filter(pk=key).first() if key else None
    if image is None or not can(actor, Action.READ, image):
        raise NotFound(f"There is no image {image_id[:80]!r} that you can see.")
    return image


def resolve(actor: Actor, project: Project, name: str) -> Image:
    """The image that ``name`` means in the project: its own list first, then the library.

    ``name`` is a reference, an image id, or at least six digits of one. Raise ``NotFound`` (project),
    ``NoSuchImage``, ``AmbiguousImage``, ``InvalidReference``.
    """
    require(actor, Action.READ, project)
    library = find_library()
    for place in [project] if library is None or library == project else [project, library]:
        image = _find_by_reference(place, name) or _find_by_id(place, name)
        if image is not None:
            return image
    raise NoSuchImage(
        f"There is no image {name[:160]!r} in {project.path} or in the library. Pull or import it first.",
        image=name[:160],
        **_pullable(name),
    )


def _pullable(name: str) -> dict[str, str]:
    """The fact that says what could be pulled: nothing where the name can only be an id."""
    if _ID.fullmatch(name):
        return {}
    return {"pull": str(oci.Reference.parse(name))}


def _find_by_reference(project: Project, name: str) -> Image | None:
    if _ID.fullmatch(name) and (":" in name or len(name) in (64, 128)):
        return None
    reference = oci.Reference.parse(name)
    if reference.digest is not None:
        digest = str(reference.digest)
        there = Q(origins__digest=digest) | Q(origins__index_digest=digest)
        known = Q(origins__name=reference.familiar_name) & there
        return _usable(project).filter(known | Q(manifest_digest=digest)).first()
    named = {"references__name": reference.familiar_name, "references__tag": reference.tag}
    return _usable(project).filter(**named).first()


def _find_by_id(project: Project, name: str) -> Image | None:
    match = _ID.fullmatch(name)
    if match is None:
        return None
    begins = [f"{algorithm}:{match['hex']}" for algorithm in ("sha256", "sha512")]
    if match["algorithm"]:
        begins = [name]
    fits = Q(image_id__startswith=begins[0]) | Q(image_id__startswith=begins[-1])
    fitting = _usable(project).filter(fits)[:2]
    if len(fitting) > 1:
        raise AmbiguousImage(f"More than one image id begins with {match['hex']}; give more digits.")
    return fitting[0] if fitting else None


def _usable(project: Project) -> QuerySet[Image]:
    return Image.objects.select_related("project__team").filter(project=project, withdrawn=False)


def _loaded() -> QuerySet[Image]:
    return Image.objects.select_related("project__team").prefetch_related(
        Prefetch("references", Reference.objects.order_by("name", "tag")), "origins", "layers"
    )


def history(image: Image) -> list[HistoryEntry]:
    """The config's history with the layer each line made; layers without a line come last."""
    layers = list(image.layers.all())
    entries: list[HistoryEntry] = []
    for line in _history_lines(image.config):
        empty = line.get("empty_layer") is True
        layer = None if empty or not layers else layers.pop(0)
        entries.append(
            HistoryEntry(
                created=_text(line.get("created")) or None,
                created_by=_text(line.get("created_by")),
                comment=_text(line.get("comment")),
                empty=empty,
                layer=layer,
            )
        )
    entries += [HistoryEntry(None, "", "", False, layer) for layer in layers]
    return entries


def _history_lines(config: str) -> list[dict[str, Any]]:
    lines = json.loads(config).get("history")
    return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def sharing(image: Image) -> Sharing:
    """Which layers other images of the project or the library hold too. Two queries."""
    layers = list(image.layers.all())
    others = (
        ImageLayer.objects.filter(diff_id__in=[layer.diff_id for layer in layers], image__withdrawn=False)
        .exclude(image=image)
        .filter(image__project__in=neighbours(image.project))
        .select_related("image")
        .prefetch_related("image__references")
    )
    names: dict[str, set[str]] = {}
    for other in others:
        references = [str(each) for each in other.image.references.all()]
        names.setdefault(other.diff_id, set()).update(references or [other.image.short_id])
    return Sharing(tuple(LayerUse(layer, tuple(sorted(names.get(layer.diff_id, ())))) for layer in layers))
