"""Ids of rows: UUIDs, shown and passed on as 32 hex digits; a container's is 64 hex digits of chance."""

from __future__ import annotations

import secrets
import uuid

from django.db import models


def new_container_id() -> str:
    return secrets.token_hex(32)


class Row(models.Model):
    """Base of every row with a UUID: ``id`` is the UUID, ``hex`` what the world sees."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True

    @property
    def hex(self) -> str:
        return self.id.hex


def parse_id(text: str | uuid.UUID) -> uuid.UUID | None:
    """The UUID written as hex digits, with or without dashes; None if it is none."""
    if isinstance(text, uuid.UUID):
        return text
    try:
        return uuid.UUID(hex=text)
    except (ValueError, AttributeError, TypeError):
        return None
