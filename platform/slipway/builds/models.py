"""Builds as people see them: what was asked for, how it goes step by step, what came of it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from slipway.accounts.scope import Scope
from slipway.ids import Row
from slipway.jobs.models import Job, JobState
from slipway.projects.models import Project
from workers.oci.digest import DIGEST_LENGTH


class BuildState(models.TextChoices):
    """A build's state is its job's, in the words of builds."""

    QUEUED = "queued", "Queued"
    BUILDING = "building", "Building"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


STATE_OF_JOB: dict[str, BuildState] = {
    JobState.QUEUED: BuildState.QUEUED,
    JobState.RUNNING: BuildState.BUILDING,
    JobState.SUCCEEDED: BuildState.SUCCEEDED,
    JobState.FAILED: BuildState.FAILED,
    JobState.CANCELLED: BuildState.CANCELLED,
}
JOB_OF_STATE: dict[str, JobState] = {state: JobState(job) for job, state in STATE_OF_JOB.items()}


class SourceKind(models.TextChoices):
    UPLOAD = "upload", "Uploaded context"
    GIT = "git", "Git repository"
    URL = "url", "Archive or Dockerfile by its address"
    NONE = "none", "Dockerfile only"


class Build(Row):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="builds")
    number = models.PositiveIntegerField()
    """Counts the project's builds from 1."""
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="build")
    """Who asked, when it began and ended, why it failed: all that is said there is not said here."""
    source_kind = models.CharField(max_length=10, choices=SourceKind)
    source = models.JSONField(default=dict)
    """Its facts: ``upload``, ``size`` and ``name``, or ``url``, ``ref``, ``subdirectory``, ``username``."""
    options = models.JSONField(default=dict)
    """``BuildOptions`` without the values of secrets."""
    secret_ids = models.JSONField(default=list)
    sealed = models.TextField(blank=True)
    """Secrets and passwords until the build has ended, by ``accounts.sealing``."""
    credentials = models.JSONField(default=list)
    """What had a password of its own, by field: ``password``, ``contexts.<name>``, ``registries.<host>``."""
    limits = models.JSONField(default=dict)
    timeout = models.PositiveIntegerField(default=3600)
    """Seconds for the whole build."""
    queue_timeout = models.PositiveIntegerField(default=6 * 3600)
    """Seconds until its turn must have come."""
    docker = models.JSONField(default=dict)
    """Parameters of Docker's as asked for (``requests.Docker``); a retry asks for the same."""
    group = models.CharField(max_length=160, blank=True)
    """Builds of one group: one runs at a time, a newer one takes the place of those that wait."""
    retry_of: models.ForeignKey[Build | None, Build | None] = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    attempt = models.PositiveIntegerField(default=0)
    """The highest its node has told of."""
    steps_total = models.PositiveIntegerField(default=0)
    """How many steps its node told of; of very many not all are kept."""
    context_kept = models.BooleanField(default=False)
    """The uploaded context still lies on the node, for a retry; it counts to the project's disk."""
    notes = models.JSONField(default=list)
    """What was asked for and does nothing here, in sentences."""
    image_id = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    manifest_digest = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    output = models.CharField(max_length=DIGEST_LENGTH, blank=True)
    """Digest of the tar on the node, where that was asked for."""
    output_size = models.BigIntegerField(default=0)
    output_kept = models.BooleanField(default=False)
    """The tar still lies on the node; it counts to the project's disk."""
    warnings = models.JSONField(default=list)
    provenance = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    drop_at = models.DateTimeField(null=True, blank=True)
    """When its node is told next to drop the log, long after its end; then when the node had done so."""
    dropped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="builds_build_number"),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="builds_build_of_project"),
            models.Index(
                fields=["created_at"], condition=models.Q(context_kept=True), name="builds_build_kept"
            ),
            models.Index(
                fields=["created_at"], condition=models.Q(output_kept=True), name="builds_build_output"
            ),
            models.Index(
                fields=["created_at"], condition=models.Q(dropped_at=None), name="builds_build_drop"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.number}"

    @property
    def scope(self) -> Scope:
        return self.project.scope

    @property
    def state(self) -> BuildState:
        return STATE_OF_JOB[self.job.state]

    @property
    def is_active(self) -> bool:
        return self.job.is_active

    @property
    def tags(self) -> list[str]:
        return list(self.options.get("tags") or ())

    @property
    def title(self) -> str:
        """What it makes or is made from, in a few words."""
        if self.tags:
            return str(self.tags[0])
        if self.source_kind in (SourceKind.GIT, SourceKind.URL):
            path = str(self.source.get("url", "")).partition("?")[0].rstrip("/")
            return path.rsplit("/", 1)[-1].removesuffix(".git")
        return str(self.source.get("name") or self.options.get("dockerfile") or "Dockerfile")


class StepState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    CACHED = "cached", "Cached"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    SKIPPED = "skipped", "Skipped"


class BuildStep(models.Model):
    """A step as its node last told of it."""

    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField()
    """Its id in the build's graph; lines of the log carry it."""
    position = models.PositiveIntegerField()
    stage = models.CharField(max_length=160, blank=True)
    name = models.TextField()
    state = models.CharField(max_length=10, choices=StepState)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    """Why it missed the cache, or failed."""
    progress = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["build", "number"], name="builds_step_number")]

    def __str__(self) -> str:
        return f"{self.number} {self.name[:60]} ({self.state})"

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.ended_at or timezone.now()) - self.started_at).total_seconds())
