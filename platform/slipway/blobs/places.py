"""Where blobs lie: ``dir:/path``, parsed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class DirectoryPlace:
    path: Path


def parse_place(name: str, value: str) -> DirectoryPlace:
    """Raise ``ImproperlyConfigured`` naming the variable ``name``."""
    if value.startswith("dir:/"):
        return DirectoryPlace(Path(value.removeprefix("dir:")))
    raise ImproperlyConfigured(f"{name}={value}: dir:/absolute/path is needed.")
