"""Jobs: queued work that people see."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.utils import timezone

from slipway.accounts.models import Team, User
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
    PULL_IMAGE = "image.pull", "Pull image"
    PUSH_IMAGE = "image.push", "Push image"
    BUILD_IMAGE = "image.build", "Build image"
    PRUNE_BUILDS = "build.prune", "Prune build cache"


LAYER_STATES = (
    "waiting",
    "downloading",
    "unpacking",
    "compressing",
    "uploading",
    "exists",
    "mounted",
    "done",
)


@dataclass(frozen=True)
class LayerState:
    digest: str
    state: str
    """One of ``LAYER_STATES``."""
    done: int
    total: int


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
    claims = models.JSONField(default=dict)
    """What it holds of the project's quota while it is under way: resource → amount."""
    admitted_at = models.DateTimeField(null=True, blank=True)
    """When it was let go to its node; None while it waits for quota, a slot or a lock."""
    lock = models.CharField(max_length=200, blank=True)
    """Of a project's jobs with the same lock one runs at a time."""
    expires_at = models.DateTimeField(null=True, blank=True)
    """A job that still waits then is given up; None: it waits for ever."""
    attempt = models.PositiveIntegerField(default=1)
    """Raised when a job of a kind that is fenced lost its worker and is sent anew."""
    lease_until = models.DateTimeField(null=True, blank=True)
    """A running job must be heard of again before this."""
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    retry_of: models.ForeignKey[Job | None, Job | None] = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    command = models.TextField()
    """The command to the node, encoded, without secrets; sent again while the job waits."""
    sends = models.PositiveIntegerField(default=0)
    resend_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    created_by_name = models.CharField(max_length=200, blank=True)
    """As the audit log calls them."""
    is_bound = models.BooleanField(default=False)
    """Wished with a token that opens the job's project alone: what is done for it reads no other."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    position: int | None = None
    """In its node's queue, 1 for the next; told by ``queries.place``."""
    reason: str = ""
    """Why a job that needs a slot waits; likewise."""

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["node", "created_at", "id"],
                condition=models.Q(state="queued"),
                name="jobs_job_queue",
            ),
            models.Index(fields=["project", "-created_at", "-id"], name="jobs_job_of_project"),
            models.Index(
                fields=["node", "kind", "admitted_at"],
                condition=models.Q(state__in=["queued", "running"]),
                name="jobs_job_slots",
            ),
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
    def waits_for(self) -> str:
        """``quota``, ``lock``, ``node`` or ``slot`` while it is queued, else nothing; needs ``node``."""
        if self.state != JobState.QUEUED:
            return ""
        if self.reason:
            return self.reason
        if self.admitted_at is None:
            return "quota"
        return "slot" if self.node.is_live() else "node"

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def layers(self) -> list[LayerState]:
        """Of a pull or push, as far as its node has told; one query unless ``layer_row`` is loaded."""
        row: JobLayers | None = getattr(self, "layer_row", None)
        return [LayerState(*each) for each in row.layers] if row is not None else []


class JobLayers(models.Model):
    """How far each layer of a pull or push is: the last the node told, kept as the job's record."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="layer_row")
    layers = models.JSONField(default=list)
    """``[[digest, state, done, total], …]``, written at most twice a second: short on purpose."""

    def __str__(self) -> str:
        return f"{len(self.layers)} layers"


class SlotQueue(Row):
    """A node's queue for slots; whoever lets jobs go locks the row (``jobs.scheduling``)."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="slot_queue")
    clock = models.BigIntegerField(default=0)
    """The queue's own time: where the job last let go began (``jobs.fairness``)."""

    def __str__(self) -> str:
        return f"slots of {self.node_id.hex}"


class Turn(Row):
    """When a team's last job in the queue ended, in the queue's own time."""

    queue = models.ForeignKey(SlotQueue, on_delete=models.CASCADE, related_name="turns")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="turns")
    ends = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "team"], name="jobs_turn_of_team")]

    def __str__(self) -> str:
        return f"{self.team_id.hex} {self.ends}"


class Weight(Row):
    """How much of the slots a team gets beside others: twice the weight, twice as many; 1 if not set."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, related_name="weight")
    weight = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(weight__gte=1, weight__lte=100), name="jobs_weight_range"
            )
        ]

    def __str__(self) -> str:
        return f"{self.team_id.hex}: {self.weight}"


class IdempotentAnswer(Row):
    """What a request with an ``Idempotency-Key`` was answered, for 24 hours."""

    actor = models.CharField(max_length=60)
    """``Actor.identity``: keys of different users and robots never meet."""
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    """SHA-256 of method, address and body: the same key for anything else is a mistake."""
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    location = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["actor", "key"], name="jobs_idempotent_answer_unique"),
        ]
        indexes = [models.Index(fields=["created_at"], name="jobs_idempotent_answer_age")]

    def __str__(self) -> str:
        return f"{self.key} ({self.status})"
