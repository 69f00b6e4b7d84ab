"""What builds do when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class BuildsConfig(AppConfig):
    name = "slipway.builds"

    def ready(self) -> None:
        from slipway.builds.handlers import register_all

        register_all()
