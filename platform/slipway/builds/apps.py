"""What builds do when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class BuildsConfig(AppConfig):
    name = "slipway.builds"

    def ready(self) -> None:
        from slipway.builds.handlers import register_all
        from slipway.builds.using import builds_using
        from slipway.catalog.uses import register

        register_all()
        register(builds_using)
