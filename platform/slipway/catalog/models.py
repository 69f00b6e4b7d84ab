"""Images as people see them: what a project's node grants it, under which names."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.ids import Row
from slipway.projects.models import Project
from workers.oci.digest import DIGEST_LENGTH


class Image(Row):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="images")
    image_id = models.CharField(max_length=DIGEST_LENGTH)
    """The config digest, ``sha256:…`` or ``sha512:…``."""
    manifest_digest = models.CharField(max_length=DIGEST_LENGTH)
    config = models.TextField()
    """The exact OCI config JSON."""
    size = models.BigIntegerField(default=0)
    """Bytes of all layers, unpacked."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    """When this project got it; when it was made is in the config."""
    withdrawn = models.BooleanField(default=False)
    """Its removal is under way: nothing new may use it."""

    shared_size: int | None = None
    """Of ``size``, what other images here hold as well; told by ``sizes.measure``, as the next."""
    unique_size: int | None = None
    containers_count = 0
    """How many unremoved containers are made from it; told by whoever shows it."""

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
        return self.image_id.partition(":")[2][:12]

    @property
    def scope(self) -> Scope:
        return self.project.scope

    @property
    def names(self) -> list[str]:
        """Docker's repo tags; needs ``references`` loaded."""
        return [str(reference) for reference in self.references.all()]

    @property
    def repo_digests(self) -> list[str]:
        """Under which digests registries know it; needs ``origins`` loaded."""
        return sorted({origin.repo_digest for origin in self.origins.all()})

    @property
    def labels(self) -> dict[str, str]:
        inner = self._config.get("config")
        labels = inner.get("Labels") if isinstance(inner, dict) else None
        return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}

    @property
    def made_at(self) -> str:
        """When it was built, as its config says; may be empty or anything."""
        made = self._config.get("created")
        return made if isinstance(made, str) else ""

    @cached_property
    def _config(self) -> dict[str, Any]:
        document = json.loads(self.config)
        return document if isinstance(document, dict) else {}


class ImageLayer(Row):
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="layers")
    position = models.PositiveIntegerField()
    """0 is the bottom."""
    digest = models.CharField(max_length=DIGEST_LENGTH)
    diff_id = models.CharField(max_length=DIGEST_LENGTH)
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


# --------------------------------------------------------------------------- registries


class Origin(Row):
    """Where a project's image was pulled from or pushed to: what Docker calls its repo digests."""

    class Kind(models.TextChoices):
        PULL = "pull", "Pulled"
        PUSH = "push", "Pushed"

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="origins")
    kind = models.CharField(max_length=4, choices=Kind)
    name = models.CharField(max_length=255)
    """Without tag, in the familiar form: ``busybox``, ``example.org/team/web``."""
    tag = models.CharField(max_length=128, blank=True)
    """Empty for a pull by digest."""
    digest = models.CharField(max_length=DIGEST_LENGTH)
    """Of the image's manifest there."""
    index_digest = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    """Of the index the tag named, if it named one."""
    stale = models.CharField(max_length=500, blank=True)
    """Why a cached image was taken without, or against, what upstream says."""
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["image", "kind", "name", "tag", "digest"], name="catalog_origin_unique"
            ),
        ]
        indexes = [models.Index(fields=["name", "digest"], name="catalog_origin_digest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}@{self.digest[:19]}"

    @property
    def repo_digest(self) -> str:
        """As Docker prints it: of the index, where there is one."""
        return f"{self.name}@{self.index_digest or self.digest}"

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else f"{self.name}@{self.index_digest or self.digest}"


class UpstreamTag(Row):
    """What a tag of another registry meant when it was last asked for: the pull-through cache's memory."""

    name = models.CharField(max_length=255)
    """Registry and repository: ``docker.io/library/busybox``."""
    tag = models.CharField(max_length=128)
    platform = models.CharField(max_length=60, blank=True)
    """As asked for; empty: the node's."""
    project: models.ForeignKey[Project | None, Project | None] = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="upstream_tags"
    )
    """None: pulled without credentials, so everybody may have it; else it stays this project's."""
    digest = models.CharField(max_length=DIGEST_LENGTH)
    """Of the manifest for the platform."""
    index_digest = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    image_id = models.CharField(max_length=DIGEST_LENGTH)
    size = models.BigIntegerField(default=0)
    """Bytes of all layers, unpacked."""
    fetched_at = models.DateTimeField()
    """When upstream last said so."""
    used_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "tag", "platform"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "tag", "platform"],
                condition=models.Q(project=None),
                name="catalog_upstream_tag_of_all",
            ),
            models.UniqueConstraint(
                fields=["name", "tag", "platform", "project"],
                condition=models.Q(project__isnull=False),
                name="catalog_upstream_tag_of_project",
            ),
        ]
        indexes = [models.Index(fields=["used_at"], name="catalog_upstream_tag_used")]

    def __str__(self) -> str:
        return f"{self.name}:{self.tag} {self.digest[:19]}"


class RegistryCredential(Row):
    """A project's account at another registry. The secret opens only when a command is sent."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="registry_credentials")
    host = models.CharField(max_length=255)
    """As in references: ``docker.io``, ``registry.example.org:5000``."""
    username = models.CharField(max_length=255)
    sealed_secret = models.TextField()
    """By ``accounts.sealing``; keys are rotated by ``operations.rotation``."""
    created_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    changed_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    test_error = models.CharField(max_length=500, blank=True)
    """What the last test said; empty after one that went well."""

    class Meta:
        ordering = ["host"]
        constraints = [
            models.UniqueConstraint(fields=["project", "host"], name="catalog_credential_of_host"),
        ]

    def __str__(self) -> str:
        return f"{self.username} at {self.host}"

    @property
    def scope(self) -> Scope:
        return self.project.scope
