"""Jobs: queued work that people see."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from slipway.accounts.models import User
from slipway.accounts.scope import Scope
from slipway.ids import Row
from slipway.nodes.models import Node
from slipway.projects.models import Project


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
ACTIVE = (JobState.QUEUED, JobState.RUNNING)


class JobKind(models.TextChoices):
    IMPORT_IMAGE = "image.import", "Import image"
    BAKE_IMAGE = "image.bake", "Make base image"
    REMOVE_IMAGE = "image.remove", "Remove image"


class Job(Row):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="jobs")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="jobs")
    kind = models.CharField(max_length=20, choices=JobKind)
    subject = models.CharField(max_length=300, blank=True)
    """What it is about, for people: a reference, a recipe, an image id."""
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    detail = models.CharField(max_length=500, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    cause = models.JSONField(null=True, blank=True)
    """Why it failed: ``{"code", "message", "facts"}``."""
    command = models.TextField()
    """The command to the node, encoded; sent again while the job waits."""
    sends = models.PositiveIntegerField(default=0)
    resend_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="jobs_job_of_project"),
            models.Index(
                fields=["resend_at"], condition=models.Q(resend_at__isnull=False), name="jobs_job_resend"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} ({self.state})"

    @property
    def scope(self) -> Scope:
        return self.project.scope

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE
