"""Recipes: their versions' names, and that both sides know the same ones."""

from __future__ import annotations

import pytest

from slipway.catalog.recipes import RECIPES
from workers.engine import recipes
from workers.engine.recipes.installs import version_of
from workers.engine.recipes.roots import busybox_tags
from workers.errors import NodeError

STATUS = """\
Package: python3-pip
Version: 23.0.1+dfsg-1

Package: python3
Status: install ok installed
Description: interactive
 Version: not this one
Version: 3.11.2-1+b1

Package: redis-server
Version: 5:7.0.15-1~deb12u3
"""


@pytest.mark.parametrize(
    ("package", "version"), [("python3", "3.11.2"), ("python3-pip", "23.0.1"), ("redis-server", "7.0.15")]
)
def test_the_upstream_version_of_a_package(package: str, version: str) -> None:
    assert version_of(package, STATUS) == version


def test_a_package_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(NodeError, match="redis was not installed"):
        version_of("redis", STATUS)


def test_busyboxs_version() -> None:
    assert busybox_tags("BusyBox v1.35.0 (Debian 1:1.35.0-4) multi-call binary.\n") == ("1.35.0", "1.35", "1")
    with pytest.raises(NodeError):
        busybox_tags("")


def test_the_platform_offers_the_recipes_there_are() -> None:
    assert sorted(RECIPES) == sorted(recipes.NAMES)
    assert {name for name, each in RECIPES.items() if each.base} == set(recipes.PROGRAMS)
    assert {each.base for each in RECIPES.values() if each.base} == {recipes.ROOT_OF_PROGRAMS}
