"""Finding repositories: by words, and by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, can
from slipway.projects.queries import list_projects
from slipway.repositories.access import Access
from slipway.repositories.models import Manifest, ManifestChild, Repository, Tag, Visibility
from slipway.repositories.platforms import has_architecture
from slipway.repositories.queries import readable
from workers.oci.descriptor import INDEXES

IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
KINDS = ("image", "chart", "artifact")
PLACES = ("public", "team", "mine")
WORDS_MAX = 10


@dataclass(frozen=True)
class Wanted:
    """Empty: any."""

    words: str = ""
    place: str = ""
    """One of ``PLACES``: for everybody; of the teams one belongs to; of projects one may push to."""
    visibility: str = ""
    kind: str = ""
    architecture: str = ""
    """Of an image, as its config says, or of one of an index, as that says."""
    days: int | None = None
    """Pushed to within so many."""


def search(access: Access, wanted: Wanted, now: datetime) -> QuerySet[Repository]:
    """What the caller may see of them, the one pushed to last first."""
    rows = readable(access).annotate(sorted_at=Coalesce("last_push_at", "created_at"))
    rows = rows.order_by("-sorted_at", "-id")
    for word in wanted.words.split()[:WORDS_MAX]:
        rows = rows.filter(Q(path__icontains=word) | Q(readme__icontains=word))
    if wanted.visibility:
        rows = rows.filter(visibility=wanted.visibility)
    if wanted.days is not None:
        rows = rows.filter(last_push_at__gte=now - timedelta(days=wanted.days))
    if wanted.kind:
        rows = rows.filter(Exists(_tagged(_of_kind(wanted.kind))))
    if wanted.architecture:
        fits = has_architecture(wanted.architecture)
        images = Manifest.objects.filter(fits, repository=OuterRef("pk"))
        children = ManifestChild.objects.filter(fits, index__repository=OuterRef("pk"))
        rows = rows.filter(Exists(images) | Exists(children))
    return _in_place(access, rows, wanted.place)


def _in_place(access: Access, rows: QuerySet[Repository], place: str) -> QuerySet[Repository]:
    if place == "public":
        return rows.filter(Q(visibility=Visibility.PUBLIC) | Q(project__library=True))
    actor = access.actor
    if actor is None or not place:
        return rows
    if place == "mine":
        return rows.filter(project__in=writable(actor))
    teams = list_projects(actor).order_by().values("team")
    return rows.filter(Q(visibility=Visibility.TEAM) | Q(project__team__in=teams)).exclude(
        project__library=True
    )


def writable(actor: Actor) -> list[UUID]:
    """Projects the actor may push to."""
    return [project.pk for project in list_projects(actor) if can(actor, Action.WRITE, project)]


def _of_kind(kind: str) -> Q:
    image = Q(manifest__artifact_type__in=IMAGE_CONFIGS) | Q(
        manifest__media_type__in=INDEXES, manifest__artifact_type=""
    )
    chart = Q(manifest__artifact_type=CHART_CONFIG)
    return {"image": image, "chart": chart}.get(kind, ~(image | chart))


def _tagged(condition: Q) -> QuerySet[Tag]:
    return Tag.objects.filter(condition, repository=OuterRef("pk"))


def kind_of(manifest: Manifest) -> str:
    """image, chart or artifact."""
    if manifest.artifact_type == CHART_CONFIG:
        return "chart"
    is_index = manifest.media_type in INDEXES and not manifest.artifact_type
    return "image" if is_index or manifest.artifact_type in IMAGE_CONFIGS else "artifact"


# --------------------------------------------------------------------------- what a list shows


@dataclass(frozen=True)
class Card:
    """A repository as a catalog shows it: by its newest tag."""

    repository: Repository
    tag: str = ""
    kind: str = ""
    size: int = 0


def cards(repositories: Sequence[Repository]) -> list[Card]:
    """Three queries, however many there are."""
    newest = (
        Tag.objects.filter(repository__in=repositories)
        .order_by()
        .values("repository")
        .annotate(at=Max("updated_at"))
        .values_list("repository", "at")
    )
    times = dict(newest)
    rows = Tag.objects.filter(repository__in=repositories, updated_at__in=set(times.values()))
    tags = {
        tag.repository_id: tag
        for tag in rows.select_related("manifest").defer("manifest__content").order_by("name")
        if tag.updated_at == times.get(tag.repository_id)
    }
    found = []
    for repository in repositories:
        tag = tags.get(repository.pk)
        found.append(
            Card(repository, tag.name, kind_of(tag.manifest), tag.manifest.content_size)
            if tag
            else Card(repository)
        )
    return found
