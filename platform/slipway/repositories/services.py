"""Writes: repositories themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from django.db import transaction
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.projects.models import Project
from slipway.repositories import accounting, links
from slipway.repositories.access import require_manage
from slipway.repositories.manifests import Freed, remove
from slipway.repositories.models import Blob, BlobLink, Manifest, Repository, Visibility
from slipway.repositories.names import RepositoryPath
from slipway.repositories.retention import Rules

README_MAX = 256 << 10
PATTERNS_MAX = 20


def create_repository(
    actor: Actor, project: Project, name: str, visibility: Visibility = Visibility.PRIVATE
) -> Repository:
    """Safe to repeat; pushing to one that does not exist makes it, too.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidRepositoryName``.
    """
    require(actor, Action.WRITE if visibility == Visibility.PRIVATE else Action.MANAGE, project)
    path = str(RepositoryPath.parse(f"{project.path}/{name}"))
    with transaction.atomic():
        repository, created = Repository.objects.select_related("project__team").get_or_create(
            path=path, defaults={"project": project, "name": name, "visibility": visibility}
        )
        if created:
            record(actor, "repository.create", repository, visibility=visibility.value)
    return repository


def set_visibility(actor: Actor, repository: Repository, visibility: Visibility) -> None:
    """Raise ``NoSuchRepository``, ``NotAllowed``."""
    require_manage(actor, repository)
    before = repository.visibility
    if before == visibility:
        return
    with transaction.atomic():
        repository.visibility = visibility
        repository.save(update_fields=["visibility"])
        record(
            actor,
            "repository.visibility",
            repository,
            before={"visibility": before},
            after={"visibility": visibility.value},
        )


def set_readme(actor: Actor, repository: Repository, text: str) -> None:
    """Markdown, kept as it is written. Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``."""
    require(actor, Action.WRITE, repository.project)
    if len(text.encode("utf-8", "replace")) > README_MAX or "\0" in text:
        raise InvalidRequest(f"readme: at most {README_MAX >> 10} KiB of text.", field="readme")
    with transaction.atomic():
        repository.readme = text
        repository.save(update_fields=["readme"])
        record(actor, "repository.readme", repository, characters=len(text))


def set_rules(
    actor: Actor,
    repository: Repository,
    *,
    immutable_tags: Sequence[str] | None = None,
    retention: Rules | None = None,
) -> None:
    """What may not be moved, and what is kept; None: as before.

    Raise as ``set_visibility``, and ``InvalidRequest``.
    """
    require_manage(actor, repository)
    before = {"immutable_tags": repository.immutable_tags, "retention": repository.retention}
    if immutable_tags is not None:
        repository.immutable_tags = _patterns(immutable_tags, "immutable_tags")
    if retention is not None:
        _patterns(retention.keep_patterns, "retention.keep_patterns")
        repository.retention = asdict(retention) if retention.is_active else {}
    after = {"immutable_tags": repository.immutable_tags, "retention": repository.retention}
    with transaction.atomic():
        repository.save(update_fields=["immutable_tags", "retention"])
        record(actor, "repository.rules", repository, before=before, after=after)


def change(
    actor: Actor,
    repository: Repository,
    *,
    visibility: Visibility | None = None,
    readme: str | None = None,
    immutable_tags: Sequence[str] | None = None,
    retention: Rules | None = None,
) -> None:
    """All that is given, or nothing. Raise as the functions for each."""
    with transaction.atomic():
        if visibility is not None:
            set_visibility(actor, repository, visibility)
        if readme is not None:
            set_readme(actor, repository, readme)
        if immutable_tags is not None or retention is not None:
            set_rules(actor, repository, immutable_tags=immutable_tags, retention=retention)


def _patterns(given: Sequence[str], field: str) -> list[str]:
    if len(given) > PATTERNS_MAX or any(not 1 <= len(each) <= 128 or "\0" in each for each in given):
        raise InvalidRequest(f"{field}: at most {PATTERNS_MAX} patterns of 1 to 128 characters.", field=field)
    return list(dict.fromkeys(given))


def delete_repository(actor: Actor, repository: Repository) -> Freed:
    """With everything in it, immutable or not. Raise ``NoSuchRepository``, ``NotAllowed``."""
    require_manage(actor, repository)
    with transaction.atomic():
        links.lock(repository)
        freed = _empty(repository)
        record(actor, "repository.delete", repository, manifests=freed.manifests, freed=freed.size)
        repository.delete()
    return freed


def drop_repositories(project: Project) -> None:
    """All of a project that is being deleted, in its transaction; the sweep frees their bytes."""
    for repository in Repository.objects.select_related("project__team").filter(project=project):
        links.lock(repository)
        _empty(repository)
        repository.delete()


def _empty(repository: Repository) -> Freed:
    """Nothing is in it any more, not even what pushes hold."""
    for upload in repository.uploads.all():
        accounting.release_upload(upload)
    repository.uploads.all().delete()  # their bytes are strays now
    manifests = list(Manifest.objects.filter(repository=repository).defer("content"))
    freed = remove(repository, manifests) if manifests else Freed(0, 0)
    BlobLink.objects.filter(repository=repository).update(held_until=timezone.now())
    rest = list(Blob.objects.filter(links__repository=repository))
    return Freed(freed.manifests, freed.size + links.drop_unneeded(repository, rest))
