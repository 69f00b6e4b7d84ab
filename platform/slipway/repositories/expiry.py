"""Retention carried out: what would go by a repository's rules, and going."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from slipway.audit.services import Who, record
from slipway.repositories import links
from slipway.repositories.manifests import Freed, is_immutable, remove, with_dependants
from slipway.repositories.models import Manifest, Repository, Tag
from slipway.repositories.queries import unique_bytes
from slipway.repositories.retention import Rules, TagFacts, Verdict, judge

TOLD = 100
"""As many names at most stand in the audit log."""


@dataclass(frozen=True)
class Images:
    """What containers are made from, as the catalog names it."""

    manifest_digests: Collection[str] = ()
    image_ids: Collection[str] = ()


@dataclass(frozen=True)
class Plan:
    verdicts: Sequence[Verdict]
    """The newest tag first."""
    manifests: Sequence[Manifest]
    """Those that go: no kept tag and no kept index names them, nor is their subject kept."""
    freed: int
    """Bytes, as far as the project is concerned."""

    @property
    def tags(self) -> list[str]:
        return [verdict.tag.name for verdict in self.verdicts if not verdict.kept]


def plan(repository: Repository, rules: Rules, images: Images, now: datetime) -> Plan:
    """What the rules would do to the repository now."""
    rows = Tag.objects.filter(repository=repository).values_list("name", "manifest__digest", "updated_at")
    tags = [TagFacts(*row, immutable=is_immutable(repository, row[0])) for row in rows]
    deployed = _deployed(repository, images)
    verdicts = judge(rules, tags, deployed, now)
    going = {verdict.tag.name for verdict in verdicts if not verdict.kept}
    staying = Tag.objects.filter(repository=repository, manifest=OuterRef("pk")).exclude(name__in=going)
    doomed = Q(tags__name__in=going)
    if rules.untagged_days is not None:
        old = now - timedelta(days=rules.untagged_days)
        alone = Q(subject="") | Q(~Exists(_subject(repository)))
        doomed |= Q(tags=None, created_at__lt=old) & alone
    manifests = list(
        Manifest.objects.filter(doomed, ~Exists(staying), repository=repository, parents=None)
        .exclude(digest__in=deployed)
        .defer("content")
        .distinct()
    )
    all_of_them = with_dependants(repository, manifests, going)
    return Plan(verdicts, all_of_them, unique_bytes(all_of_them))


def carry_out(who: Who, repository: Repository, rules: Rules, images: Images, now: datetime) -> Freed:
    """Do what ``plan`` says at this moment, and put it on record if it is anything."""
    with transaction.atomic():
        links.lock(repository)
        found = plan(repository, rules, images, now)
        if not found.tags and not found.manifests:
            return Freed(0, 0)
        Tag.objects.filter(repository=repository, name__in=found.tags).delete()
        freed = remove(repository, found.manifests)
        record(
            who,
            "repository.retention",
            repository,
            tags=found.tags[:TOLD],
            tag_count=len(found.tags),
            manifests=freed.manifests,
            freed=freed.size,
        )
    return freed


def _subject(repository: Repository) -> QuerySet[Manifest]:
    return Manifest.objects.filter(repository=repository, digest=OuterRef("subject"))


def _deployed(repository: Repository, images: Images) -> set[str]:
    """Digests of manifests in use, and of the indexes that name them."""
    used = Manifest.objects.filter(
        Q(digest__in=images.manifest_digests) | Q(config_digest__in=images.image_ids), repository=repository
    )
    found = set(used.values_list("digest", flat=True))
    indexes = Manifest.objects.filter(repository=repository, children__manifest__in=used)
    return found | set(indexes.values_list("digest", flat=True))
