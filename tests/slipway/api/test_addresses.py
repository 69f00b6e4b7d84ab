"""Addresses nothing can be at."""

from __future__ import annotations

import pytest

from tests.slipway.api.conftest import Edge, People


@pytest.mark.parametrize("path", ["/api/v1/teams/a%00b", "/api/v1/projects/a%00/b/images", "/jobs/%00/"])
async def test_an_address_with_a_nul_names_nothing(edge: Edge, crowd: People, path: str) -> None:
    async with edge.get(path, crowd.owner) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type=None))["code"] == "NOT_FOUND"
