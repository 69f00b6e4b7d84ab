"""What builds do when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class BuildsConfig(AppConfig):
    name = "slipway.builds"

    def ready(self) -> None:
        from slipway.builds.handlers import register_all
        from slipway.builds.using import builds_using, statement_of
        from slipway.catalog import statements, uses

        register_all()
        uses.register(builds_using)
        statements.register(statement_of)
