"""Images as people see them: what a project's node grants it, under which names."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.ids import Row
from slipway.projects.models import Project


class Image(Row):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="images")
    image_id = models.CharField(max_length=80)
    """The config digest, ``sha256:…``."""
    manifest_digest = models.CharField(max_length=80)
    config = models.TextField()
    """The exact OCI config JSON."""
    size = models.BigIntegerField(default=0)
    """Bytes of all layers, unpacked."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    """When this project got it; when it was made is in the config."""
    withdrawn = models.BooleanField(default=False)
    """Its removal is under way: nothing new may use it."""

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "image_id"], name="catalog_image_unique"),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="catalog_image_of_project"),
        ]

    def __str__(self) -> str:
        return self.image_id[:19]

    @property
    def short_id(self) -> str:
        return self.image_id.removeprefix("sha256:")[:12]

    @property
    def scope(self) -> Scope:
        return self.project.scope


class ImageLayer(Row):
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="layers")
    position = models.PositiveIntegerField()
    """0 is the bottom."""
    digest = models.CharField(max_length=80)
    diff_id = models.CharField(max_length=80)
    size = models.BigIntegerField()
    unpacked_size = models.BigIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["image", "position"], name="catalog_layer_position_unique"),
        ]
        indexes = [models.Index(fields=["diff_id"], name="catalog_layer_diff_id")]

    def __str__(self) -> str:
        return f"{self.position} {self.diff_id[:19]}"


class Reference(Row):
    """``name:tag`` in a project's local image list; movable, as on a Docker host."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="references")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="references")
    name = models.CharField(max_length=255)
    tag = models.CharField(max_length=128)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "tag"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "tag"], name="catalog_reference_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"
