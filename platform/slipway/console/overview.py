"""What the dashboard tells: counts per project, what needs attention, what happened. A few queries in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet
from django.urls import reverse

from slipway.accounts.actors import Actor
from slipway.audit.models import Entry
from slipway.console.looks import container_cause, container_look
from slipway.containers.models import ALIVE, Container, State
from slipway.containers.queries import list_containers
from slipway.jobs.models import JobState
from slipway.jobs.queries import list_jobs
from slipway.nodes.models import Node
from slipway.projects.models import Project
from slipway.projects.queries import list_projects

RECENT = timedelta(hours=24)
STUCK = timedelta(seconds=30)
ATTENTION_MAX = 6
ACTIVITY_MAX = 12


@dataclass(frozen=True)
class Counts:
    """Of a project's unremoved containers."""

    running: int = 0
    failed: int = 0
    """Ended with anything but 0."""
    finished: int = 0
    waiting: int = 0
    """Created, or between two states."""

    @property
    def total(self) -> int:
        return self.running + self.failed + self.finished + self.waiting


@dataclass(frozen=True)
class Card:
    project: Project
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class Concern:
    """Something that needs attention: what, why, where to look."""

    title: str
    text: str
    url: str
    tone: str
    at: datetime | None = None


def cards(actor: Actor) -> list[Card]:
    projects = list(list_projects(actor))
    counts = container_counts(projects)
    return [Card(project, counts.get(project.pk, Counts())) for project in projects]


def container_counts(projects: Sequence[Project]) -> dict[object, Counts]:
    """By project id; one query."""
    rows = (
        Container.objects.filter(project__in=projects, removed_at=None)
        .order_by()
        .values_list("project")
        .annotate(
            running=Count("pk", filter=Q(observed__in=ALIVE)),
            failed=Count("pk", filter=Q(observed=State.EXITED) & ~Q(exit_code=0) | Q(observed=State.DEAD)),
            finished=Count("pk", filter=Q(observed=State.EXITED, exit_code=0)),
            all=Count("pk"),
        )
    )
    return {
        project: Counts(running, failed, finished, every - running - failed - finished)
        for project, running, failed, finished, every in rows
    }


def concerns(actor: Actor, now: datetime) -> list[Concern]:
    """Newest first, at most ATTENTION_MAX of each kind."""
    return [*_nodes(actor, now), *_containers(actor, now), *_jobs(actor, now)]


def _nodes(actor: Actor, now: datetime) -> list[Concern]:
    if not actor.is_administrator:
        return []
    away = [node for node in Node.objects.order_by("name") if not node.is_live(now)]
    text = "No heartbeat: commands wait until its agent answers again."
    return [
        Concern(f"Node {node.name} is away", text, reverse("nodes"), "bad", node.heartbeat_at)
        for node in away
    ]


def _containers(actor: Actor, now: datetime) -> list[Concern]:
    ended_badly = Q(observed=State.EXITED, finished_at__gt=now - RECENT) & ~Q(exit_code=0)
    failed_to_start = Q(observed=State.CREATED, cause__isnull=False, created_at__gt=now - RECENT)
    stuck = Q(resend_at__lt=now, sends__gt=1)
    found = list_containers(actor).filter(ended_badly | failed_to_start | stuck | Q(observed=State.DEAD))
    return [
        _container(container, now)
        for container in found.order_by("-finished_at", "-created_at")[:ATTENTION_MAX]
    ]


def _container(container: Container, now: datetime) -> Concern:
    why = container_cause(container, now)
    failed_start = container.observed == State.CREATED and container.cause is not None
    title = f"{container.name} {'did not start' if failed_start else container_look(container).word}"
    text = why.text if why else ""
    url = reverse("container", args=[container.id])
    tone = "busy" if why and why.tone == "busy" else "bad"
    return Concern(title, text, url, tone, container.finished_at or container.created_at)


def _jobs(actor: Actor, now: datetime) -> list[Concern]:
    failed = list_jobs(actor).filter(state=JobState.FAILED, ended_at__gt=now - RECENT)[:ATTENTION_MAX]
    return [
        Concern(
            f"{job.get_kind_display()} {job.subject} failed",
            str((job.cause or {}).get("message", "")),
            reverse("job", args=[job.hex]),
            "bad",
            job.ended_at,
        )
        for job in failed
    ]


# --------------------------------------------------------------------------- activity


@dataclass(frozen=True)
class Happening:
    entry: Entry
    text: str
    icon: str
    url: str


_PHRASES = {
    "container.create": ("created container", "box"),
    "container.start": ("started", "player-play"),
    "container.stop": ("stopped", "hand-stop"),
    "container.kill": ("killed", "skull"),
    "container.remove": ("removed container", "trash"),
    "image.import": ("imported an image into", "upload"),
    "image.bake": ("makes a base image in", "stack-2"),
    "image.remove": ("removed image", "trash"),
    "job.cancel": ("cancelled a job of", "hand-stop"),
    "job.retry": ("repeated a job of", "rotate-clockwise"),
    "quota.request": ("asked for more for", "activity"),
    "quota.approve": ("approved more for", "activity"),
    "quota.decline": ("declined more for", "activity"),
    "limit.set": ("set a limit of", "activity"),
    "project.create": ("created project", "folder"),
    "team.create": ("created team", "users"),
    "member.set": ("changed members of", "users"),
    "member.remove": ("removed a member of", "users"),
    "token.issue": ("made token", "key"),
    "token.revoke": ("revoked token", "key"),
}


def activity(actor: Actor) -> list[Happening]:
    """The last entries of the actor's teams, and what they did themselves."""
    mine = Q(team_id__in=set(actor.roles) - actor.locked_teams) | Q(user=actor.user)
    entries: QuerySet[Entry] = Entry.objects.all() if actor.is_administrator else Entry.objects.filter(mine)
    found = list(entries.order_by("-seq")[:ACTIVITY_MAX])
    projects = {
        card.pk: card for card in list_projects(actor).filter(pk__in=[each.project_id for each in found])
    }
    return [
        _happening(entry, projects.get(entry.project_id) if entry.project_id else None) for entry in found
    ]


def _happening(entry: Entry, project: Project | None) -> Happening:
    phrase, icon = _PHRASES.get(entry.action, (entry.action.replace(".", " "), "activity"))
    return Happening(entry, phrase, icon, _place(entry, project))


def _place(entry: Entry, project: Project | None) -> str:
    if entry.object_kind == "container":
        return reverse("container", args=[entry.object_id])
    return reverse("project", args=[project.team.slug, project.slug]) if project else ""
