"""Clients of the running process set."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from tests.rest import Rest
from tests.stacks import RunningStack


@pytest.fixture(scope="session")
def rest(stack: RunningStack) -> Rest:
    """The administrator in the project of the proof."""
    return Rest(stack.url, stack.token, stack.project)


@pytest.fixture(scope="session")
def neighbour(stack: RunningStack, rest: Rest) -> Rest:
    """The administrator in another team's project."""
    slug = f"n{secrets.token_hex(4)}"
    rest.call("POST", "/teams", {"slug": slug, "name": "Neighbours"})
    rest.call("POST", "/projects", {"team": slug, "slug": "shop", "name": "Shop"})
    return Rest(stack.url, stack.token, f"{slug}/shop")


@pytest.fixture
def unique() -> Callable[[str], str]:
    """A container name nobody has taken."""
    return lambda word: f"{word}-{secrets.token_hex(4)}"
