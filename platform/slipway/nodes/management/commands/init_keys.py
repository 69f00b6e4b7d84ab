"""``manage.py init_keys``: the platform's own keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from slipway import keys


class Command(BaseCommand):
    help = "Make the platform's keys that are missing (mode 0600). Safe to repeat."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        public = keys.ensure()
        self.stdout.write(f"Keys are in {settings.SLIPWAY_KEYS}; the public signing key is {public}.")
