"""The registry of a running process set against the specification, over connections that are kept."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.distribution.discovery import Discovery
from tests.distribution.management import Management
from tests.distribution.pull import Pull
from tests.distribution.push_blobs import PushBlobs, digest
from tests.distribution.push_manifests import PushManifests, stocked
from tests.registry_client import digest_of
from tests.stacks import RunningStack
from tests.wire_client import WireClient

__all__ = ["digest", "stocked"]  # fixtures of theirs


@pytest.fixture
def client(stack: RunningStack) -> Iterator[WireClient]:
    made = WireClient(urlsplit(stack.url).netloc, stack.admin, stack.token)
    yield made
    made.close()


@pytest.fixture
def path(stack: RunningStack) -> str:
    return f"{stack.project}/c{secrets.token_hex(6)}"


@pytest.fixture
def sibling(stack: RunningStack) -> str:
    return f"{stack.project}/s{secrets.token_hex(6)}"


class TestPull(Pull):
    pass


class TestPushBlobs(PushBlobs):
    pass


class TestPushManifests(PushManifests):
    pass


class TestDiscovery(Discovery):
    pass


class TestManagement(Management):
    pass


def test_a_connection_outlives_answers_without_a_body_and_refusals(client: WireClient, path: str) -> None:
    """HEADs, a 401 and a 404 to requests with a body, 204, 304 and 416: after each the next one is read."""
    blob = client.push_blob(path, b"data" * 1000)
    nowhere = digest_of(b"nowhere")
    known = client._authorization()
    for _ in range(3):
        assert client.call("HEAD", f"/v2/{path}/blobs/{blob}").status == 200
        assert client.call("HEAD", f"/v2/{path}/blobs/{nowhere}").status == 404
        assert client.call("HEAD", f"/v2/{path}/blobs/{blob}", authorization="").status == 401
        tag = f'"{blob}"'
        assert client.call("GET", f"/v2/{path}/blobs/{blob}", if_none_match=tag).status == 304
        assert client.call("GET", f"/v2/{path}/blobs/{blob}", range="bytes=9999-").status == 416
        location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
        assert client.call("PATCH", location, b"x" * 200_000, authorization="").status == 401
        assert client.call("PATCH", location, b"x" * 200_000, content_range="5-200004").status == 416
        assert client.call("PUT", f"{location}?digest=nonsense", b"x" * 200_000).status == 400
        assert client.call("DELETE", location).status == 204
        assert client.call("PATCH", location, [b"x" * 100_000] * 2).status == 404
        assert client.call("GET", f"/v2/{path}/blobs/{blob}", **known).status == 200
    assert client.connections == 1
