"""Containers: what was asked for (desired) and what is the case (observed); one writer each."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.catalog.models import Image
from slipway.ids import new_container_id
from slipway.nodes.models import Node
from slipway.projects.models import Project

RESEND_AFTER = timedelta(seconds=5)


class State(models.TextChoices):
    """Docker's seven."""

    CREATED = "created", "Created"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    RESTARTING = "restarting", "Restarting"
    REMOVING = "removing", "Removing"
    EXITED = "exited", "Exited"
    DEAD = "dead", "Dead"


NEXT: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.RUNNING, State.REMOVING}),
    State.RUNNING: frozenset({State.PAUSED, State.RESTARTING, State.EXITED, State.REMOVING}),
    State.PAUSED: frozenset({State.RUNNING, State.EXITED, State.REMOVING}),
    State.RESTARTING: frozenset({State.RUNNING, State.EXITED, State.REMOVING}),
    State.EXITED: frozenset({State.RUNNING, State.REMOVING}),
    State.REMOVING: frozenset({State.DEAD}),
    State.DEAD: frozenset({State.REMOVING}),
}
ALIVE = (State.RUNNING, State.PAUSED, State.RESTARTING)
"""States in which there is a process."""


class Container(models.Model):
    """``wish`` is for services; ``observed*``, ``run`` and the outcome are written by events only."""

    id = models.CharField(primary_key=True, max_length=64, default=new_container_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="containers")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="containers")
    name = models.CharField(max_length=64)
    image = models.ForeignKey(
        Image, on_delete=models.SET_NULL, null=True, blank=True, related_name="containers"
    )
    """None when the image was removed after the container."""
    image_name = models.CharField(max_length=400)
    """As it was asked for."""
    spec = models.JSONField()
    """``workers.messages.ContainerSpec``."""
    created_by_name = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    desired = models.CharField(max_length=10, choices=State, default=State.CREATED)
    desired_generation = models.PositiveIntegerField(default=0)
    desired_run = models.PositiveIntegerField(default=0)
    """Number of the run the last start asked for."""
    stop_timeout = models.FloatField(default=10.0)
    """Of the last stop, in seconds."""
    sends = models.PositiveIntegerField(default=0)
    resend_at = models.DateTimeField(null=True, blank=True)
    """When the sweep sends the command again; None once the node has answered."""

    observed = models.CharField(max_length=10, choices=State, default=State.CREATED)
    observed_generation = models.PositiveIntegerField(default=0)
    run = models.PositiveIntegerField(default=0)
    exit_code = models.IntegerField(null=True, blank=True)
    oom_killed = models.BooleanField(default=False)
    cause = models.JSONField(null=True, blank=True)
    """Why it failed or ended: ``{"code", "message", "facts"}``."""
    address = models.GenericIPAddressField(null=True, blank=True, protocol="IPv4")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    logs_drop_at = models.DateTimeField(null=True, blank=True)
    """When the sweep next tells the node to drop the log of a removed container."""
    logs_dropped_at = models.DateTimeField(null=True, blank=True)
    """When the node had dropped it; None while it can be read."""

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(removed_at__isnull=True),
                name="containers_container_name_unique",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="containers_of_project"),
            models.Index(
                fields=["node", "observed"],
                condition=models.Q(removed_at__isnull=True),
                name="containers_of_node",
            ),
            models.Index(
                fields=["removed_at"],
                condition=models.Q(removed_at__isnull=False, logs_dropped_at=None),
                name="containers_with_old_logs",
            ),
            models.Index(
                fields=["resend_at"], condition=models.Q(resend_at__isnull=False), name="containers_resend"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def scope(self) -> Scope:
        return self.project.scope

    @property
    def pending(self) -> bool:
        """The node has not yet answered the last wish."""
        return self.removed_at is None and self.observed_generation < self.desired_generation

    @property
    def state(self) -> State:
        """What people see: the observed state, or that the container is going away."""
        if self.removed_at is None and self.desired == State.REMOVING:
            return State.REMOVING
        return State(self.observed)

    @property
    def is_alive(self) -> bool:
        """There is a process, as far as is known."""
        return self.removed_at is None and self.observed in ALIVE

    def wish(self, state: State, *, now: datetime | None = None) -> None:
        """Ask for ``state``: a new generation, to be sent to the node. The caller saves the row."""
        if state == State.RUNNING:
            self.desired_run = self.run + 1
        self.desired = state
        self.desired_generation += 1
        patience = timedelta(seconds=self.stop_timeout) if state == State.EXITED else timedelta()
        self.sends = 1
        self.resend_at = (now or timezone.now()) + RESEND_AFTER + patience
