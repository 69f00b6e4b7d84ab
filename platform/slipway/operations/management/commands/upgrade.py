"""``manage.py upgrade --check``: would this checkout run on the data that is there?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from slipway.operations.upgrades import checks
from workers.checks import table, worst

EXIT = {"ok": 0, "degraded": 1, "missing": 2}
VERDICTS = {
    "ok": "Nothing to do.",
    "degraded": "It can be upgraded; the lines with ! say what the next start does, or what could be better.",
    "missing": "It cannot be upgraded yet; the lines with ✗ say why.",
}


class Command(BaseCommand):
    help = (
        "Compare this checkout with data, packages and machine; changes nothing. Exit code 0: nothing to do,"
        " 1: something to do or to better, 2: it would fail. The upgrade itself is `make up`."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        found = checks()
        self.stdout.write(f"{table(found)}\n\n{VERDICTS[worst(found)]}")
        sys.exit(EXIT[worst(found)])
