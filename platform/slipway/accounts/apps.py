"""The room of users, teams and tokens."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "slipway.accounts"

    def ready(self) -> None:
        from slipway.accounts import signals

        signals.connect()
