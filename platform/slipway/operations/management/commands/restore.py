"""``manage.py restore FILE``: a backup, on a machine that has no data yet."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.operations import restores
from workers.errors import SlipwayError


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty SLIPWAY_DATA (and, with PostgreSQL, an empty database). Digests and"
        " versions are always compared first; nothing that is there is ever written over."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--verify",
            action="store_true",
            help="first prove it: keys load and fit, the database is sound and opens, checks pass",
        )
        parser.add_argument(
            "--only-verify", action="store_true", help="as --verify, and restore nothing: for any machine"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        source = options["file"].absolute()
        try:
            if options["only_verify"]:
                facts = restores.examine(source, say=self._say)
                self.stdout.write(f"{source} can be restored (Slipway {facts.version}, {facts.made_at}).")
                return
            done = restores.restore(source, verify=options["verify"], say=self._say)
        except SlipwayError as error:
            raise CommandError(error.message) from error
        for notice in done.notices:
            self.stdout.write(f"! {notice}")
        self.stdout.write(f"Restored the state of {done.facts.made_at}. Not restored:")
        for line in done.facts.absent:
            self.stdout.write(f"  - {line}")
        self.stdout.write("Containers that ran then will show as exited. Next: make up")

    def _say(self, line: str) -> None:
        self.stdout.write(f"✓ {line}")
