"""``manage.py move_blobs --to PLACE``: the registry's bytes into another directory or bucket."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from slipway.blobs.opening import open_place
from slipway.blobs.places import DirectoryPlace, parse_place
from slipway.operations.moving import Moved, move
from slipway.operations.owners import as_owner_of
from workers.errors import SlipwayError

EVERY = 2.0
SHOWN = 20


class Command(BaseCommand):
    help = (
        "Copy all blobs of the registry from where SLIPWAY_BLOBS says to another place; everything may run."
        " What is there already is not copied again. See docs/operations.md for the steps."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", required=True, metavar="PLACE", help="as in SLIPWAY_BLOBS")
        parser.add_argument("--from", metavar="PLACE", help="another place than SLIPWAY_BLOBS names")
        parser.add_argument("--verify", action="store_true", help="read what is there already, too")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            given = options["from"]
            source = parse_place("--from", given) if given else settings.SLIPWAY_BLOBS
            target = parse_place("--to", options["to"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if source == target:
            raise CommandError("That is where they lie already.")
        if isinstance(target, DirectoryPlace) and not target.path.is_dir():
            raise CommandError(f"{target.path} is no directory: make it, owned by the platform's user.")
        self._last = time.monotonic()
        try:
            with as_owner_of(Path(settings.SLIPWAY_PLATFORM_DATA)):
                moved = move(open_place(source), open_place(target), self._tell, verify=options["verify"])
        except (SlipwayError, OSError) as error:
            reason = error.message if isinstance(error, SlipwayError) else str(error)
            raise CommandError(f"{reason} Run it again: it goes on from there.") from error
        self._conclude(moved, options["to"])

    def _tell(self, moved: Moved) -> None:
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self.stdout.write(f"{moved.blobs} blobs looked at, {moved.copied} copied ({_size(moved)})")

    def _conclude(self, moved: Moved, place: str) -> None:
        self.stdout.write(f"{moved.blobs} blobs; {moved.copied} copied now ({_size(moved)}).")
        for word, digests in (("missing", moved.missing), ("damaged", moved.damaged)):
            for digest in digests[:SHOWN]:
                self.stdout.write(f"{word}: {digest}")
        if not moved.is_whole:
            raise CommandError(
                f"{len(moved.missing)} blobs are missing and {len(moved.damaged)} damaged where they lay; "
                "pushing their images again heals them. All others are there."
            )
        self.stdout.write(f"All are there. With web and observer stopped, set SLIPWAY_BLOBS={place}.")


def _size(moved: Moved) -> str:
    return f"{moved.size / 1e6:.1f} MB"
