"""The pull-through cache: what tags of other registries meant, and to whom that may be told.

Images pulled without credentials are public: the node grants them to the scope ``UPSTREAM`` as well, and
every project may have them from there. What took credentials stays the project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from slipway.catalog.models import UpstreamTag
from slipway.projects.models import Project
from workers.oci.reference import Reference

UPSTREAM = "upstream"
"""The scope of the node's store that belongs to no project."""


@dataclass(frozen=True)
class Known:
    """What a pull may use instead of asking upstream."""

    scope: str = UPSTREAM
    """Whose store has it."""
    digest: str | None = None
    """So fresh that upstream need not be asked."""
    fallback: str | None = None
    """Better than nothing."""


def recall(
    project: Project,
    reference: Reference,
    platform: str | None,
    *,
    fresh: timedelta,
    now: datetime,
    refresh: bool = False,
) -> Known:
    """What is known of ``reference`` for ``project``; with ``refresh`` only for when upstream is out."""
    rows = UpstreamTag.objects.filter(name=reference.name, platform=platform or "")
    rows = rows.filter(Q(project=None) | Q(project=project))
    if reference.digest is not None:
        digest = str(reference.digest)
        row = rows.filter(Q(digest=digest) | Q(index_digest=digest)).order_by("-fetched_at").first()
    else:
        row = rows.filter(tag=reference.tag).order_by("-fetched_at").first()
    if row is None:
        return Known()
    # What a digest names never changes.
    is_fresh = reference.digest is not None or (not refresh and row.fetched_at > now - fresh)
    scope = UPSTREAM if row.project_id is None else project.hex
    return Known(scope, row.digest if is_fresh else None, row.digest)
