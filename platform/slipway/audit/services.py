"""Writing the audit log, in the transaction of the change it tells of."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from django.db import models

from slipway.audit.models import Entry


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


def record(actor: Who, action: str, subject: What, /, **detail: Any) -> Entry:
    """Note that ``actor`` did ``action`` (``noun.verb``) to ``subject``; call inside its transaction."""
    key = subject.pk
    scope = subject.scope
    kind = subject._meta.model_name if isinstance(subject, models.Model) else None
    return Entry.objects.create(
        user=actor.user,
        actor=actor.label,
        action=action,
        object_kind=kind or action.partition(".")[0],
        object_id=key.hex if isinstance(key, UUID) else str(key),
        object_name=str(getattr(subject, "path", None) or getattr(subject, "name", None) or subject)[:400],
        team_id=scope.team_id,
        project_id=scope.project_id,
        origin=actor.origin,
        detail=detail,
    )
