"""Nodes: hosts with one engine each, and what was last heard of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from slipway.ids import Row

HEARTBEAT_LIFE = timedelta(seconds=20)
"""A node whose last heartbeat is older counts as away; the agent sends one every 5 s."""


class Node(Row):
    name = models.CharField(max_length=63, unique=True)
    public_key = models.CharField(max_length=64)
    """X25519, as ``workers.sealing.public_text`` writes it; commands are sealed to it."""
    signed_by = models.CharField(max_length=64)
    """The platform key this node was told to trust when it was registered."""
    epoch = models.CharField(max_length=64, blank=True)
    """Which journal ``applied_seq`` counts in; a node whose journal was lost begins another."""
    applied_seq = models.BigIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    facts = models.JSONField(default=dict)
    """The last heartbeat: version, boot id, runtime, counts."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def is_live(self, now: datetime | None = None) -> bool:
        """False also for a heartbeat of the future: the clock was set back, and the next one tells."""
        if self.heartbeat_at is None:
            return False
        return abs((now or timezone.now()) - self.heartbeat_at) < HEARTBEAT_LIFE
