"""Accounts at registries that a build brings for itself, as Docker's X-Registry-Config does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.builds.errors import InvalidBuild
from slipway.catalog.credentials import SECRET_MAX, parse_host

MOST = 50


@dataclass(frozen=True)
class Account:
    username: str
    password: str
    """Secret."""


def checked(accounts: Mapping[str, Account]) -> dict[str, Account]:
    """By the host as references write it. Raise ``InvalidBuild``, ``InvalidRequest``."""
    if len(accounts) > MOST:
        raise InvalidBuild(f"registries: at most {MOST} are allowed.", field="registries")
    found = {parse_host(text): account for text, account in accounts.items()}
    for host, account in found.items():
        fits = 0 < len(account.username) <= 255 and 0 < len(account.password) <= SECRET_MAX
        if not fits or ":" in account.username or not account.username.isprintable():
            raise InvalidBuild(f"registries: {host} needs a user name and a password.", field="registries")
    return found
