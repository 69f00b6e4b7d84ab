"""Compare the ledger of quotas with the rows it tells of."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Recompute what projects use, report what the ledger has wrong, and put it right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only report.")

    def handle(self, *args: Any, **options: Any) -> None:
        # Imported here: it knows the rooms above this one.
        from slipway.drift import reconcile

        count = reconcile(dry_run=options["dry_run"])
        verb = "differ" if options["dry_run"] else "differed and were put right"
        self.stdout.write(f"{count} holders {verb}; the log names them." if count else "The ledger is right.")
