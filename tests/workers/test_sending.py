"""Archives made as they go out: whole, or seen to be broken off."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest

from tests.workers import test_streams
from tests.workers.test_streams import ID, Agent
from workers.engine.saving import Saved
from workers.errors import LayerNotKept, NodeError, NoSuchImage

agent, root = test_streams.agent, test_streams.root
"""Their fixtures are ours."""


async def test_an_archive_comes_with_its_length(agent: Agent) -> None:
    pieces = [bytes([number]) * 700_000 for number in range(5)]
    agent.saved = Saved(3_500_000, iter(pieces))
    path = f"/v1/images/scope/sha256:{ID}/archive"
    async with agent.client.get(path, params=[("format", "oci"), ("name", "a"), ("name", "b:1")]) as answer:
        assert (answer.status, answer.content_length) == (200, 3_500_000)
        assert await answer.read() == b"".join(pieces)
    assert agent.asked == ("scope", f"sha256:{ID}", "oci", ["a", "b:1"])


async def test_an_archive_that_fails_half_way_is_not_taken_for_whole(agent: Agent) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(2_000_000)
        raise NodeError("The layer is damaged")

    agent.saved = Saved(5_000_000, pieces())
    with pytest.raises(aiohttp.ClientPayloadError):
        async with agent.client.get("/v1/images/scope/sha256:0/archive") as answer:
            await answer.read()


async def test_an_image_that_cannot_be_saved_says_why(agent: Agent) -> None:
    for error, status in ((NoSuchImage("No such image"), 404), (LayerNotKept("Import it again"), 409)):
        agent.saved = error
        found, body = await agent.request("GET", "/v1/images/scope/sha256:0/archive")
        assert (found, body["code"]) == (status, error.code)
