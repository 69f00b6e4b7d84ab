"""``manage.py rotate_keys``: new keys, with a time in which the old ones still hold."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.operations import rotation
from workers.errors import SlipwayError
from workers.sealing import ROTATION_OVERLAP

KEYS = ("signing", "node", "django")


class Command(BaseCommand):
    help = "Replace keys; commands under way still open, sessions go on. Needs root. See docs/operations.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("keys", nargs="+", choices=KEYS, metavar="KEY", help=", ".join(KEYS))
        parser.add_argument(
            "--retire",
            action="store_true",
            help="django only: forget the former secrets, once web and observer run with the new one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["retire"] and options["keys"] != ["django"]:
            raise CommandError("--retire is for django alone: the others retire by themselves.")
        try:
            for key in dict.fromkeys(options["keys"]):
                self.stdout.write(self._retire() if options["retire"] else getattr(self, f"_{key}")())
        except SlipwayError as error:
            raise CommandError(error.message) from error

    def _signing(self) -> str:
        return f"Commands are signed with {rotation.rotate_signing_key()} from now on. {_until()}"

    def _node(self) -> str:
        return f"Commands are sealed to {rotation.rotate_node_key()} from now on. {_until()}"

    def _django(self) -> str:
        count = rotation.rotate_django_secret()
        return (
            f"Django has a new secret; {count} former still count. Start web and observer again, then, when"
            " sessions of before may end, `manage.py rotate_keys --retire django`."
        )

    def _retire(self) -> str:
        count = rotation.retire_django_secrets()
        return f"The former secrets are forgotten; {count} second factors were sealed anew. Start web again."


def _until() -> str:
    return f"The key of before is accepted for {ROTATION_OVERLAP / 60:.0f} minutes more; restart nothing."
