"""The audit log: who did what to which object, when, from where."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from slipway.ids import Row


class Entry(Row):
    at = models.DateTimeField(default=timezone.now, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=200)
    """As it was called then: the user's name, with the token's prefix if one was used."""
    action = models.CharField(max_length=60)
    """``noun.verb``: ``container.start``."""
    object_kind = models.CharField(max_length=30)
    object_id = models.CharField(max_length=80)
    object_name = models.CharField(max_length=400, blank=True)
    team_id = models.UUIDField(null=True, blank=True)
    project_id = models.UUIDField(null=True, blank=True)
    origin = models.CharField(max_length=64, blank=True)
    """Address the request came from."""
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["team_id", "-at"], name="audit_entry_of_team"),
            models.Index(fields=["object_id", "-at"], name="audit_entry_of_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_name}"
