"""``manage.py doctor``: is everything there that Slipway needs, and if not, what to do."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from slipway import doctor
from workers.checks import table, worst

VERDICTS = {
    "ok": "Everything is there.",
    "degraded": "It works; the lines with ! say what would make it better.",
    "missing": "Something is missing; the lines with ✗ say what to do.",
}


class Command(BaseCommand):
    help = "Examine this node and the platform, a line for each thing needed. Exit code 1 if one is missing."
    # The checks import every view, and a doctor must come to a broken house, too.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
        parser.add_argument(
            "--fix", action="store_true", help="first mend the node where that costs nothing (root)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        parts = {"node": doctor.node_checks(fix=options["fix"]), "platform": doctor.platform_checks()}
        checks = [check for part in parts.values() for check in part]
        if options["json"]:
            document = {name: [asdict(check) for check in part] for name, part in parts.items()}
            self.stdout.write(json.dumps(document, indent=2))
        else:
            width = max(len(check.name) for check in checks)
            for name, part in parts.items():
                self.stdout.write(f"{name.capitalize()}\n{table(part, width)}\n\n")
            self.stdout.write(VERDICTS[worst(checks)])
        if worst(checks) == "missing":
            sys.exit(1)
