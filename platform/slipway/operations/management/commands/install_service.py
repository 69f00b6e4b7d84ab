"""``manage.py install-service``: this installation as systemd services."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.operations import installing
from slipway.operations.units import environment, units
from workers.errors import SlipwayError


class Command(BaseCommand):
    help = (
        "Write systemd units for redis, web, observer, worker and agent, with the SLIPWAY_ variables of this"
        " call in an environment file. Starts nothing; safe to repeat."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print the files and write nothing")
        parser.add_argument("--user", default="slipway", help="of redis, web and observer")
        parser.add_argument("--directory", type=Path, default=installing.SYSTEMD, help="for the units")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = installing.here(options["user"])
            if options["dry_run"]:
                self._print({str(found.environment_file): environment(masked(installing.variables()))})
                self._print(units(found))
                return
            for path in installing.install(found, options["directory"]):
                self.stdout.write(str(path))
        except SlipwayError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Next: make down; systemctl enable --now {found.prefix}.target")

    def _print(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            self.stdout.write(f"# {name}\n{text}")


def masked(variables: dict[str, str]) -> dict[str, str]:
    """For the screen: without the passwords of URLs."""
    return {name: re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", value) for name, value in variables.items()}
