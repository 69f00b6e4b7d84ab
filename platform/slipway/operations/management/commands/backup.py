"""``manage.py backup FILE``: everything that cannot be made again, in one file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.operations.backups import backup
from workers.errors import SlipwayError


class Command(BaseCommand):
    help = (
        "Write database, keys and image grants to FILE (tar, zstd; mode 0600) while everything runs. It holds"
        " the private keys: whoever reads it can command the node. What it does not hold is printed."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="must not exist; slipway.tar.zst, for example")
        parser.add_argument("--with-images", action="store_true", help="images' layers, too; much larger")

    def handle(self, *args: Any, **options: Any) -> None:
        target = options["file"].absolute()
        try:
            facts = backup(target, with_images=options["with_images"])
        except SlipwayError as error:
            raise CommandError(error.message) from error
        size = f"{target.stat().st_size / 1e6:.1f} MB"
        self.stdout.write(f"{target} ({size}) holds Slipway {facts.version}. Not in it:")
        for line in facts.absent:
            self.stdout.write(f"  - {line}")
        self.stdout.write("It holds private keys: keep it as you keep those.")
