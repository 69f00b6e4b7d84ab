"""An image of a repository as a stack: its layers, the instruction that made each, and who shares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Window
from django.db.models.functions import RowNumber

from slipway.blobs.store import BlobStore
from slipway.repositories.access import Access
from slipway.repositories.models import BlobLink, Manifest, ManifestBlob
from slipway.repositories.platforms import config_of, platform_of
from slipway.repositories.queries import readable

SHOWN_MAX = 8
"""Repositories named as sharing a layer."""


@dataclass(frozen=True)
class Layer:
    digest: str
    size: int
    shared_with: tuple[str, ...]
    """Paths of other repositories the caller sees that have it, too."""


@dataclass(frozen=True)
class Line:
    """Of the history, or a layer that none tells of."""

    created_by: str
    layer: Layer | None


@dataclass(frozen=True)
class Stack:
    platform: str
    lines: tuple[Line, ...]
    """The oldest first."""

    @property
    def shared_size(self) -> int:
        return sum(line.layer.size for line in self.lines if line.layer and line.layer.shared_with)


def stack_of(access: Access, manifest: Manifest, store: BlobStore) -> Stack:
    """Of a manifest as ``show_manifest`` gives it; empty of lines for what has no layers."""
    references = list(manifest.references.all())
    config: dict[str, Any] = {}
    if references and references[0].blob.digest == manifest.config_digest:
        config = config_of(references.pop(0).blob, store)
    layers = _layers(access, manifest, references)
    history = config.get("history")
    lines = [line for line in history if isinstance(line, dict)] if isinstance(history, list) else []
    return Stack(platform_of(config), tuple(_paired(lines, layers)))


def _layers(access: Access, manifest: Manifest, references: list[ManifestBlob]) -> list[Layer]:
    others = BlobLink.objects.filter(
        blob__in=[reference.blob_id for reference in references],
        repository__in=readable(access).order_by().values("pk"),
    ).exclude(repository=manifest.repository_id)
    place = Window(RowNumber(), partition_by="blob", order_by="repository__path")
    first = others.annotate(place=place).filter(place__lte=SHOWN_MAX)
    sharers: dict[object, list[str]] = {}
    for blob, path in first.order_by("repository__path").values_list("blob", "repository__path"):
        sharers.setdefault(blob, []).append(path)
    return [
        Layer(each.blob.digest, each.blob.size, tuple(sharers.get(each.blob_id, ()))) for each in references
    ]


def _paired(history: list[dict[str, Any]], layers: list[Layer]) -> list[Line]:
    left = list(layers)
    lines = []
    for entry in history:
        empty = entry.get("empty_layer") is True
        text = entry.get("created_by")
        lines.append(Line(text if isinstance(text, str) else "", None if empty or not left else left.pop(0)))
    return lines + [Line("", layer) for layer in left]
