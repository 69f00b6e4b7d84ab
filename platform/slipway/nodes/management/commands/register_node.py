"""``manage.py register_node``: make this machine a node of the platform."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from slipway import keys
from slipway.nodes.services import register_node
from workers import sealing
from workers.errors import NodeError


class Command(BaseCommand):
    help = (
        "Make this machine a node: its key below <data>/node/keys (0600, root), the platform's public key "
        "beside it, and the node's row. Safe to repeat. Needs root, as the node's directory is root's."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", default=settings.SLIPWAY_NODE, help="default: SLIPWAY_NODE")

    def handle(self, *args: Any, **options: Any) -> None:
        if os.geteuid() != 0:
            raise CommandError("register_node writes the node's keys, which are root's: run it with sudo.")
        directory = settings.SLIPWAY_DATA / "node" / "keys"
        try:
            platform = sealing.load_signing_key(keys.signing_key_file()).public_key()
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            node_key = sealing.ensure_node_key(directory / "node")
            sealing.store_platform_key(directory / "platform", platform)
        except NodeError as error:
            raise CommandError(
                f"{error} (The platform's own keys come from `manage.py init_keys`.)"
            ) from error
        node = register_node(
            options["name"], sealing.public_text(node_key.public_key()), sealing.public_text(platform)
        )
        self.stdout.write(f"This machine is node {node.name!r}, with the key {node.public_key}.")
