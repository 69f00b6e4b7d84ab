"""The room of repositories: their rows and all their rules."""

from __future__ import annotations

from django.apps import AppConfig


class RepositoriesConfig(AppConfig):
    name = "slipway.repositories"
