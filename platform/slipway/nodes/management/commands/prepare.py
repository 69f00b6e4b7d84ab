"""``manage.py prepare``: everything a checkout needs before its processes can serve."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from slipway.operations import formats
from workers.errors import SlipwayError


class Command(BaseCommand):
    help = "Make keys, apply migrations, collect static files, make the library. Safe and quick to repeat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--admin", action="store_true", help="make the first administrator, too")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            formats.require()
        except SlipwayError as error:
            raise CommandError(error.message) from error
        call_command("init_keys", stdout=self.stdout)
        formats.note()
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stdout)
        _collect_static()
        call_command("ensure_library", stdout=self.stdout)
        if options["admin"]:
            call_command("create_admin", stdout=self.stdout)


def _collect_static() -> None:
    """Compressing takes seconds, so only when a file changed since it was done last."""
    stamp = Path(settings.STATIC_ROOT) / ".fingerprint"
    fingerprint = _fingerprint()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == fingerprint:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(fingerprint, encoding="ascii")


def _fingerprint() -> str:
    """Of the names, sizes and times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: found[0]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
