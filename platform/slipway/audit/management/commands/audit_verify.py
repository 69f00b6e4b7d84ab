"""Check the audit log's chain."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.audit.verification import verify


class Command(BaseCommand):
    help = "Check that no entry of the audit log was changed, removed, added or moved."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--expect",
            default="",
            metavar="SEQ:DIGEST",
            help="A head this command printed earlier: it must still be in the log.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = verify(options["expect"])
        for fault in verdict.faults:
            self.stderr.write(f"entry {fault.seq}: {fault.text}")
        if not verdict.holds:
            raise CommandError(f"The audit log was tampered with: {len(verdict.faults)} fault(s), see above.")
        self.stdout.write(f"{verdict.entries} entries hold together. Note the head: {verdict.head}")
