"""``manage.py create_admin``: the first administrator."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import User
from slipway.accounts.services import create_user
from workers.errors import UserError


class Command(BaseCommand):
    help = (
        "Make an administrator with a random password, printed once and kept nowhere in clear. "
        "Does nothing but say so when there is one; --reset gives that one a new password."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--email", default="")
        parser.add_argument("--reset", action="store_true", help="give an existing one a new password")

    def handle(self, *args: Any, **options: Any) -> None:
        username = options["username"]
        password = secrets.token_urlsafe(15)
        user = User.objects.filter(username=username).first()
        if user is not None and not user.is_staff:
            raise CommandError(f"{username!r} exists and is no administrator; choose another --username.")
        if user is not None and not options["reset"]:
            self.stdout.write(f"The administrator {username!r} exists; --reset gives them a new password.")
            return
        if user is not None:
            user.set_password(password)
            user.save(update_fields=["password"])
        else:
            try:
                create_user(OPERATOR, username, password, email=options["email"], is_staff=True)
            except UserError as error:
                raise CommandError(error.message) from error
        self.stdout.write(f"Administrator: {username}\nPassword:      {password}")
