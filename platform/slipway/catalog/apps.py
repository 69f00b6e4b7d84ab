"""What the catalog does when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "slipway.catalog"

    def ready(self) -> None:
        from slipway.catalog.handlers import register_all

        register_all()
