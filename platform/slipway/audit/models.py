"""The audit log: who did what to which object, when, from where; each entry vouches for all before it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from slipway.ids import Row


class Entry(Row):
    """Written by ``audit.services.record`` only, changed and deleted by nobody."""

    seq = models.BigIntegerField(unique=True)
    """1, 2, 3 … in the order of commits, without a gap."""
    previous = models.CharField(max_length=64, blank=True)
    """The digest of the entry before; empty in the first."""
    digest = models.CharField(max_length=64)
    """``audit.chain.digest_of`` this entry, ``seq`` and ``previous`` included."""
    at = models.DateTimeField(default=timezone.now, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    """For finding one's own; not part of the digest, for accounts may be deleted."""
    actor = models.CharField(max_length=200)
    """As it was called then: the user's name, with the token's prefix if one was used."""
    token_prefix = models.CharField(max_length=12, blank=True)
    action = models.CharField(max_length=60)
    """``noun.verb``: ``container.start``."""
    object_kind = models.CharField(max_length=30)
    object_id = models.CharField(max_length=80)
    object_name = models.CharField(max_length=400, blank=True)
    team_id = models.UUIDField(null=True, blank=True)
    project_id = models.UUIDField(null=True, blank=True)
    origin = models.CharField(max_length=64, blank=True)
    """Address the request came from."""
    user_agent = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    """As in the server's log."""
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-seq"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["team_id", "-seq"], name="audit_of_team"),
            models.Index(fields=["project_id", "-seq"], name="audit_of_project"),
            models.Index(fields=["object_id", "-seq"], name="audit_of_object"),
            models.Index(fields=["actor", "-seq"], name="audit_of_actor"),
            models.Index(fields=["action", "-seq"], name="audit_of_action"),
            models.Index(fields=["-at"], name="audit_at"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_name}"


class ChainHead(models.Model):
    """One row, number 1: the last link. Its lock puts concurrent writers in order."""

    seq = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"
