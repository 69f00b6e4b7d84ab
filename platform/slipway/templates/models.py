"""Templates: what administrators offer to be run with a form instead of flags."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import NOWHERE, Place
from slipway.ids import Row
from slipway.templates.fields import parse_fields


class Template(Row):
    slug = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=40, blank=True)
    icon = models.CharField(max_length=40, blank=True)
    """A drawing of ``static/icons.txt``."""
    image = models.CharField(max_length=400)
    """A reference, resolved in the project it is run in."""
    entrypoint = models.JSONField(null=True, blank=True)
    command = models.JSONField(null=True, blank=True)
    """Lists of words; None: as the image says."""
    fields = models.JSONField(default=list, blank=True)
    """``fields.Field`` as objects."""
    ports = models.JSONField(default=list, blank=True)
    """``{"container": 6379, "protocol": "tcp", "description": ""}``."""
    volumes = models.JSONField(default=list, blank=True)
    """``{"path": "/data", "description": ""}``."""
    memory_bytes = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["category", "name", "slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def runs_at_once(self) -> bool:
        """Nothing has to be filled in."""
        return not any(field.must_be_filled for field in parse_fields(self.fields))

    @property
    def scope(self) -> Place:
        return NOWHERE
