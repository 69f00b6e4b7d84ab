"""Writing the audit log, in the transaction of the change it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from slipway.audit.chain import digest_of
from slipway.audit.circumstances import current
from slipway.audit.models import ChainHead, Entry
from slipway.audit.redaction import clean, clean_text

HEAD = 1


class Who(Protocol):
    @property
    def user(self) -> Any: ...
    @property
    def label(self) -> str: ...
    @property
    def origin(self) -> str: ...


class Where(Protocol):
    @property
    def team_id(self) -> UUID | None: ...
    @property
    def project_id(self) -> UUID | None: ...


class What(Protocol):
    @property
    def pk(self) -> Any: ...
    @property
    def scope(self) -> Where: ...


def record(
    actor: Who,
    action: str,
    subject: What,
    /,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **detail: Any,
) -> Entry:
    """Note that ``actor`` did ``action`` (``noun.verb``) to ``subject``; call inside its transaction.

    ``before`` and ``after`` are what changed, as people know it. Call it last: until the commit no other
    entry is written, so whoever waits for a lock afterwards keeps everybody waiting.
    """
    key = subject.pk
    scope = subject.scope
    kind = subject._meta.model_name if isinstance(subject, models.Model) else None
    name = str(getattr(subject, "path", None) or getattr(subject, "name", None) or subject)
    now = current()
    entry = Entry(
        user=actor.user,
        actor=clean_text(actor.label, 200),
        token_prefix=getattr(getattr(actor, "token", None), "prefix", ""),
        action=action,
        object_kind=kind or action.partition(".")[0],
        object_id=key.hex if isinstance(key, UUID) else str(key),
        object_name=clean_text(name, 400),
        team_id=scope.team_id,
        project_id=scope.project_id,
        origin=clean_text(actor.origin, 64),
        user_agent=clean_text(now.user_agent, 200),
        request_id=clean_text(now.request_id, 64),
        before=None if before is None else clean(dict(before)),
        after=None if after is None else clean(dict(after)),
        detail=clean(detail),
    )
    with transaction.atomic(savepoint=False):
        _append(entry)
    return entry


def _append(entry: Entry) -> None:
    """Make ``entry`` the last link; the head's lock is held until the commit."""
    head, _ = ChainHead.objects.select_for_update().get_or_create(pk=HEAD)
    entry.at = timezone.now()
    entry.seq = head.seq + 1
    entry.previous = head.digest
    entry.digest = digest_of(entry)
    entry.save(force_insert=True)
    head.seq, head.digest = entry.seq, entry.digest
    head.save(update_fields=["seq", "digest"])
