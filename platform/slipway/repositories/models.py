"""Repositories and what is in them: manifests, tags, and links to blobs.

A blob's bytes lie in the blob store once, whoever pushed them. A *link* makes a blob part of a repository;
only what is linked there can be read there. A manifest's *references* say which links it needs. A link that
no manifest needs goes, unless it is still *held* by a push; a blob without links goes after it.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.ids import Row
from slipway.projects.models import Project
from workers.oci.digest import DIGEST_LENGTH


class Visibility(models.TextChoices):
    PRIVATE = "private", "Private"
    TEAM = "team", "Team"
    PUBLIC = "public", "Public"


class Repository(Row):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="repositories")
    name = models.CharField(max_length=200)
    """Below the project: ``web``, ``web/api``."""
    path = models.CharField(max_length=255, unique=True)
    """``team/project/name``; slugs never change."""
    visibility = models.CharField(max_length=10, choices=Visibility, default=Visibility.PRIVATE)
    readme = models.TextField(blank=True)
    immutable_tags = models.JSONField(default=list)
    """Patterns as in ``v*``: a tag that matches one is set once."""
    retention = models.JSONField(default=dict)
    """As ``retention.Rules`` writes it; empty: everything is kept."""
    pull_count = models.BigIntegerField(default=0)
    last_pull_at = models.DateTimeField(null=True, blank=True)
    last_push_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="repositories_name_unique"),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def scope(self) -> Scope:
        """Needs ``project`` loaded. What the team may see is more than this: ``access.may_read``."""
        everyone = self.visibility == Visibility.PUBLIC or self.project.library
        return Scope(self.project.team_id, self.project_id, everyone_reads=everyone)


class Blob(Row):
    """Bytes in the blob store."""

    digest = models.CharField(max_length=DIGEST_LENGTH, unique=True)
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=255, blank=True)
    """As the first manifest called it that named it."""
    store = models.CharField(max_length=20)
    """The kind of store it was put into."""
    key = models.CharField(max_length=200)
    """Where it lies there."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    unlinked_at = models.DateTimeField(null=True, blank=True)
    """When its last link went, as far as was noticed: the sweep looks at these."""

    class Meta:
        indexes = [
            models.Index(
                fields=["unlinked_at"],
                condition=models.Q(unlinked_at__isnull=False),
                name="repositories_blob_unlinked",
            ),
        ]

    def __str__(self) -> str:
        return self.digest


class BlobLink(models.Model):
    """The repository has the blob."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="links")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    """The repository's: a blob counts once per project."""
    blob = models.ForeignKey(Blob, on_delete=models.RESTRICT, related_name="links")
    held_until = models.DateTimeField(null=True, blank=True)
    """A push found or brought it and its manifest is still to come."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "blob"], name="repositories_link_once"),
        ]
        indexes = [
            models.Index(fields=["project", "blob"], name="repositories_link_of_project"),
            models.Index(
                fields=["held_until"],
                condition=models.Q(held_until__isnull=False),
                name="repositories_link_held",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.repository_id} {self.blob_id}"


class Manifest(Row):
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="manifests")
    digest = models.CharField(max_length=DIGEST_LENGTH)
    media_type = models.CharField(max_length=255)
    content = models.BinaryField()
    """Exactly as it was pushed."""
    size = models.PositiveIntegerField()
    subject = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    """The digest of the manifest this one says something about."""
    artifact_type = models.CharField(max_length=255, blank=True)
    """For referrers: its own, else its config's media type."""
    config_digest = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    """The id of the image, if it is one."""
    platform = models.CharField(max_length=100, null=True)  # noqa: DJ001 - None is not empty here
    """``os/architecture[/variant]`` by an image's config; None until that was read; empty: there is none."""
    annotations = models.JSONField(default=dict)
    content_size = models.BigIntegerField(default=0)
    """Bytes of all blobs it names."""
    pushed_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "digest"], name="repositories_manifest_unique"),
        ]
        indexes = [
            models.Index(fields=["repository", "subject"], name="repositories_manifest_subject"),
            models.Index(fields=["repository", "-created_at", "-id"], name="repositories_manifest_newest"),
            models.Index(fields=["digest"], name="repositories_manifest_digest"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(platform__isnull=True),
                name="repositories_manifest_unread",
            ),
        ]

    def __str__(self) -> str:
        return self.digest


class ManifestBlob(models.Model):
    """The manifest names the blob."""

    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="references")
    blob = models.ForeignKey(Blob, on_delete=models.RESTRICT, related_name="references")
    position = models.PositiveIntegerField()
    """0 is the config, then layers from the bottom."""
    media_type = models.CharField(max_length=255)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["manifest", "blob"], name="repositories_reference_once"),
        ]

    def __str__(self) -> str:
        return f"{self.manifest_id} {self.blob_id}"


class ManifestChild(models.Model):
    """The index names the manifest."""

    index = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="children")
    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="parents")
    position = models.PositiveIntegerField()
    platform = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["index", "manifest"], name="repositories_child_once"),
        ]

    def __str__(self) -> str:
        return f"{self.index_id} {self.manifest_id}"


class Tag(Row):
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=128)
    sort_key = models.BinaryField(max_length=260)
    """``names.sort_key`` of the name."""
    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="tags")
    updated_by = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "name"], name="repositories_tag_unique"),
        ]
        indexes = [
            models.Index(fields=["repository", "sort_key"], name="repositories_tag_order"),
            models.Index(fields=["repository", "-updated_at", "-id"], name="repositories_tag_newest"),
        ]

    def __str__(self) -> str:
        return self.name


class Upload(Row):
    """A blob on its way in. How much has come, and what it hashes to, only its bytes in the store say.

    It needs a row once it holds more than a little of the project's quota.
    """

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="uploads")
    reserved = models.BigIntegerField(default=0)
    """Bytes of the project's quota that it holds."""
    started_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(db_index=True)

    access: Any = None
    """Whose it is (``access.Access``), while it has no row."""

    @property
    def is_recorded(self) -> bool:
        return not self._state.adding

    def __str__(self) -> str:
        return self.hex
