"""Reads: every lookup starts from who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Sum

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, ProjectMembership
from slipway.accounts.policy import Action, require
from slipway.ids import parse_id
from slipway.projects.models import Project
from slipway.projects.queries import list_projects
from slipway.repositories.access import Access, Verb, may_read, require_read
from slipway.repositories.errors import NoSuchManifest, NoSuchRepository
from slipway.repositories.models import (
    Blob,
    BlobLink,
    Manifest,
    ManifestBlob,
    ManifestChild,
    Repository,
    Tag,
    Visibility,
)
from slipway.repositories.names import InvalidTag, parse_tag, sort_key
from workers.errors import NoSuchBlob
from workers.oci.digest import Digest

T = TypeVar("T")

FIELDS = ("content",)
"""What a look at a manifest leaves out: megabytes, perhaps."""


def find_repository(path: str) -> Repository | None:
    """Whoever asks; the caller decides what may be told."""
    if "\0" in path:
        return None  # PostgreSQL refuses even to compare with it
    return Repository.objects.select_related("project__team").filter(path=path).first()


def get_repository(access: Access, path: str) -> Repository:
    """Raise ``NoSuchRepository``, ``InsufficientGrant``."""
    repository = find_repository(path)
    if repository is None:
        raise NoSuchRepository(path)
    require_read(access, repository)
    return repository


def get_repository_in(actor: Actor, team: str, project: str, name_or_id: str) -> Repository:
    """For the doors of people: by name, or by id. Raise ``NoSuchRepository``."""
    rows = Repository.objects.select_related("project__team").filter(
        project__team__slug=team, project__slug=project
    )
    found = rows.filter(name=name_or_id).first()
    if found is None and (key := parse_id(name_or_id)) is not None:
        found = rows.filter(pk=key).first()
    if found is None or not may_read(actor, found):
        raise NoSuchRepository(f"{team}/{project}/{name_or_id}")
    return found


def list_repositories(actor: Actor, project: Project) -> QuerySet[Repository]:
    """Of the project. Raise ``NotFound``."""
    require(actor, Action.READ, project)
    return Repository.objects.filter(project=project).select_related("project__team").order_by("name")


def readable(access: Access) -> QuerySet[Repository]:
    """All repositories the caller sees, by path."""
    rows = Repository.objects.select_related("project__team").order_by("path")
    if access.is_node:
        return rows.filter(path__in=list(access.grants or {}))
    actor = access.actor
    if actor is None:
        return rows.filter(visibility=Visibility.PUBLIC)
    seen = Q(visibility=Visibility.PUBLIC) | Q(project__library=True)
    seen |= Q(project__in=list_projects(actor).order_by().values("pk"))
    return rows.filter(seen | Q(visibility=Visibility.TEAM, project__team__in=_teams(actor)))


def _teams(actor: Actor) -> list[object]:
    """Those whose repositories with the visibility ``team`` the actor sees."""
    bound = actor.token.project.team_id if actor.token and actor.token.project else None
    if actor.is_robot:
        return [bound]
    teams = set(Membership.objects.filter(user=actor.user).values_list("team", flat=True))
    teams |= set(ProjectMembership.objects.filter(user=actor.user).values_list("project__team", flat=True))
    teams -= actor.locked_teams
    return [team for team in teams if bound in (None, team)]


# --------------------------------------------------------------------------- what is in one


@dataclass(frozen=True)
class Found:
    """What a pull must know of a manifest."""

    repository_id: UUID
    digest: str
    media_type: str
    size: int
    content: bytes
    """Empty unless asked for."""


def pull_manifest(access: Access, path: str, reference: str, *, content: bool = True) -> Found:
    """As ``get_repository`` and ``get_manifest``, in one query where the caller's token already says yes.

    Clients ask for manifests far more often than for anything else. Raise ``NoSuchRepository``,
    ``InsufficientGrant``, ``NoSuchManifest``.
    """
    if access.grants is not None and access.has(path, Verb.PULL):
        found = _find_quickly(path, reference, content=content)
        if found is not None:
            return found
    repository = get_repository(access, path)
    try:
        manifest = get_manifest(repository, reference, content=content)
    except InvalidTag as error:  # of what cannot be a tag there is none
        raise NoSuchManifest(path, reference) from error
    data = bytes(manifest.content) if content else b""
    return Found(repository.pk, manifest.digest, manifest.media_type, manifest.size, data)


_FIND = (
    "SELECT m.repository_id, m.digest, m.media_type, m.size{content} FROM repositories_repository r "
    "{tags}JOIN repositories_manifest m ON {by} WHERE r.path = %s AND {reference} = %s"
)
_BY_TAG = {
    "tags": "JOIN repositories_tag t ON t.repository_id = r.id ",
    "by": "m.id = t.manifest_id",
    "reference": "t.name",
}
_BY_DIGEST = {"tags": "", "by": "m.repository_id = r.id", "reference": "m.digest"}


def _find_quickly(path: str, reference: str, *, content: bool) -> Found | None:
    """Composing this query costs the ORM ten times as long as the database takes to answer it."""
    parts = _BY_DIGEST if ":" in reference else _BY_TAG
    with connection.cursor() as cursor:
        cursor.execute(_FIND.format(content=", m.content" if content else "", **parts), [path, reference])
        row = cursor.fetchone()
    if row is None:
        return None
    repository, digest, media_type, size, *rest = row
    key = repository if isinstance(repository, UUID) else UUID(repository)
    return Found(key, digest, media_type, size, bytes(rest[0]) if rest else b"")


def get_manifest(repository: Repository, reference: str, *, content: bool = True) -> Manifest:
    """By tag or digest. The caller has looked the repository up. Raise ``NoSuchManifest``, ``InvalidTag``."""
    rows = Manifest.objects.filter(repository=repository)
    if not content:
        rows = rows.defer(*FIELDS)
    if ":" in reference:
        found = rows.filter(digest=str(Digest.parse(reference))).first()
    else:
        found = rows.filter(tags__repository=repository, tags__name=parse_tag(reference)).first()
    if found is None:
        raise NoSuchManifest(repository.path, reference)
    return found


def get_blob(repository: Repository, digest: str) -> Blob:
    """Raise ``NoSuchBlob`` unless it is linked in this repository, ``InvalidDigest``."""
    text = str(Digest.parse(digest))
    found = Blob.objects.filter(links__repository=repository, digest=text).first()
    if found is None:
        raise NoSuchBlob(f"{repository.path} has no blob {text}.", digest=text)
    return found


_FIND_BLOB = (
    "SELECT b.digest, b.size, b.key FROM repositories_repository r "
    "JOIN repositories_bloblink l ON l.repository_id = r.id JOIN repositories_blob b ON b.id = l.blob_id "
    "WHERE r.path = %s AND b.digest = %s"
)


def pull_blob(access: Access, path: str, digest: str) -> Blob:
    """As ``get_repository`` and ``get_blob``, in one query where the caller's token already says yes.

    Only what a pull must know of the blob is there. Raise as those two.
    """
    if access.grants is not None and access.has(path, Verb.PULL):
        with connection.cursor() as cursor:
            cursor.execute(_FIND_BLOB, [path, str(Digest.parse(digest))])
            row = cursor.fetchone()
        if row is not None:
            return Blob(digest=row[0], size=row[1], key=row[2])
    return get_blob(get_repository(access, path), digest)


def list_tags(repository: Repository, last: str = "") -> QuerySet[Tag]:
    """In the order of names without regard to case, those after ``last``."""
    rows = Tag.objects.filter(repository=repository).order_by("sort_key")
    return rows.filter(sort_key__gt=sort_key(last)) if last else rows


def newest_tags(repository: Repository) -> QuerySet[Tag]:
    rows = Tag.objects.filter(repository=repository).select_related("manifest").defer("manifest__content")
    return rows.order_by("-updated_at", "-id")


def show_manifest(repository: Repository, reference: str) -> Manifest:
    """With all it names loaded. Raise ``NoSuchManifest``, ``InvalidTag``, ``InvalidDigest``."""
    key = get_manifest(repository, reference, content=False).pk
    blobs = ManifestBlob.objects.select_related("blob")
    inner = ManifestChild.objects.select_related("manifest").defer("manifest__content")
    rows = Manifest.objects.select_related("repository__project__team").defer(*FIELDS)
    return rows.prefetch_related(Prefetch("references", blobs), Prefetch("children", inner)).get(pk=key)


@dataclass(frozen=True)
class Some(Generic[T]):
    """The first of many, and how many there are in all."""

    items: list[T]
    count: int

    @property
    def more(self) -> int:
        return self.count - len(self.items)


def some(rows: QuerySet[Any, T], most: int) -> Some[T]:
    """The first ``most`` of ``rows``; they are counted only where there are more."""
    items = list(rows[: most + 1])
    return Some(items[:most], len(items) if len(items) <= most else rows.count())


def some_tags(manifest: Manifest, most: int) -> Some[str]:
    """Names of its tags, in their order."""
    rows = Tag.objects.filter(manifest=manifest).order_by("sort_key")
    return some(rows.values_list("name", flat=True), most)


def list_referrers(repository: Repository, subject: Digest, artifact_type: str = "") -> QuerySet[Manifest]:
    rows = Manifest.objects.filter(repository=repository, subject=str(subject)).defer(*FIELDS)
    if artifact_type:
        rows = rows.filter(artifact_type=artifact_type)
    return rows.order_by("created_at", "id")


# --------------------------------------------------------------------------- figures


@dataclass(frozen=True)
class Usage:
    """Bytes of blobs, each counted once."""

    total: int
    shared: int
    """Of blobs that other repositories of the project have, too."""

    @property
    def unique(self) -> int:
        """What deleting the repository would free."""
        return self.total - self.shared


@dataclass(frozen=True)
class Figures:
    """A repository and what it amounts to; its own fields are the repository's."""

    repository: Repository
    usage: Usage
    tags: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


def with_figures(repository: Repository) -> Figures:
    return Figures(repository, usage_of(repository), repository.tags.count())


def usage_of(repository: Repository) -> Usage:
    mine = Blob.objects.filter(links__repository=repository)
    others = BlobLink.objects.filter(blob=OuterRef("pk"), project=repository.project_id)
    shared = mine.filter(Exists(others.exclude(repository=repository)))
    return Usage(_sum(mine), _sum(shared))


def unique_bytes(manifests: Sequence[Manifest]) -> int:
    """What deleting ``manifests`` of one repository would free: what nothing else of the project needs."""
    if not manifests:
        return 0
    mine = [each.pk for each in manifests]
    project = manifests[0].repository.project_id
    elsewhere = ManifestBlob.objects.filter(
        blob=OuterRef("pk"), manifest__repository__project=project
    ).exclude(manifest__in=mine)
    named = Blob.objects.filter(pk__in=ManifestBlob.objects.filter(manifest__in=mine).values("blob"))
    return _sum(named.exclude(Exists(elsewhere))) + sum(each.size for each in manifests)


def _sum(blobs: QuerySet[Blob]) -> int:
    return int(blobs.aggregate(sum=Sum("size"))["sum"] or 0)


def count_tags(repositories: Sequence[Repository]) -> dict[object, int]:
    """Repository id → number of its tags; one query."""
    rows = Tag.objects.filter(repository__in=repositories).order_by().values_list("repository")
    return dict(rows.annotate(count=Count("pk")))
