"""``manage.py ensure_library``: the project whose images everybody may run."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.projects.services import ensure_library
from workers.errors import SlipwayError


class Command(BaseCommand):
    help = "Make the project library/library if it is missing. Safe to repeat."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            library = ensure_library()
        except SlipwayError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"The library is project {library.path} ({library.hex}).")
