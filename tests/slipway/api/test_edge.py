from __future__ import annotations

from typing import Any

from tests.slipway.api.conftest import Edge, People


async def test_the_process_is_alive(edge: Edge) -> None:
    async with edge.get("/healthz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"alive": True}


async def test_me(edge: Edge, crowd: People) -> None:
    async with edge.get("/api/v1/me", crowd.owner) as answer:
        body: dict[str, Any] = await answer.json()
        assert answer.status == 200, body
        assert body["roles"] == {crowd.project.team.slug: "owner"}
