"""``manage.py reset_factors``: for somebody who lost every second factor and recovery code."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import User
from slipway.accounts.sessions import end_other_sessions
from slipway.audit.services import record


class Command(BaseCommand):
    help = (
        "Remove a user's second factors and recovery codes and sign them out everywhere. Make sure who asks."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        with transaction.atomic():
            removed, _ = Authenticator.objects.filter(user=user).delete()
            ended = end_other_sessions(user, None)
            record(OPERATOR, "factor.reset", user, removed=removed, sessions_ended=ended)
        self.stdout.write(f"{user.username}: {removed} factor(s) removed, {ended} session(s) ended.")
