"""``manage.py create_token``: a token for a user, printed once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import TokenScope, User
from slipway.accounts.services import issue_token
from workers.errors import UserError


class Command(BaseCommand):
    help = "Issue a token for a user and print it; only its hash is kept."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")
        parser.add_argument(
            "--scope", action="append", choices=[str(each.value) for each in TokenScope], dest="scopes"
        )
        parser.add_argument("--days", type=int, default=None, help="days until it expires; default: never")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        days = options["days"]
        try:
            _, text = issue_token(
                OPERATOR,
                options["name"],
                scopes=options["scopes"] or [TokenScope.WRITE],
                expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
                user=user,
            )
        except UserError as error:
            raise CommandError(error.message) from error
        self.stdout.write(text)
