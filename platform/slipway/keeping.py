"""Retention, where it must know what runs: the rules of repositories beside the images of containers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from slipway.accounts.actors import OPERATOR, Actor
from slipway.containers.models import Container
from slipway.repositories.access import require_manage
from slipway.repositories.expiry import Images, Plan, carry_out, plan
from slipway.repositories.manifests import Freed
from slipway.repositories.models import Repository
from slipway.repositories.retention import Rules

ROWS = 200


@dataclass(frozen=True)
class Retention:
    """Who the audit log says that rules were carried out by, when nobody asked for it."""

    user: None = None
    label: str = "retention"
    origin: str = OPERATOR.origin


def dry_run(actor: Actor, repository: Repository, rules: Rules | None = None) -> Plan:
    """What the repository's rules, or others to be tried, would delete now.

    Raise ``NoSuchRepository``, ``NotAllowed``.
    """
    require_manage(actor, repository)
    return plan(repository, rules or _rules(repository), images_in_use(), timezone.now())


def apply(actor: Actor, repository: Repository) -> Freed:
    """Carry the repository's rules out now. Raise as ``dry_run``."""
    require_manage(actor, repository)
    return carry_out(actor, repository, _rules(repository), images_in_use(), timezone.now())


def apply_all(now: datetime) -> int:
    """Carry out the rules of all repositories that have any. How many bytes projects hold less."""
    ruled = Repository.objects.select_related("project__team").exclude(retention={}).order_by("pk")
    images = images_in_use()
    return sum(
        carry_out(Retention(), each, _rules(each), images, now).size
        for each in ruled.iterator(chunk_size=ROWS)
    )


def images_in_use() -> Images:
    """Of all containers that are not removed, whosever they are: an image may be run by another project."""
    rows = Container.objects.filter(removed_at=None, image__isnull=False).order_by()
    found = set(rows.values_list("image__manifest_digest", "image__image_id").distinct())
    return Images({manifest for manifest, _ in found}, {image for _, image in found})


def _rules(repository: Repository) -> Rules:
    return Rules.parse(repository.retention)
