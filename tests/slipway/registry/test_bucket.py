"""The registry with its bytes in a bucket."""

from __future__ import annotations

import random
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.utils import timezone

from slipway.blobs.s3 import PIECE, BucketStore
from slipway.registry.application import Registry
from slipway.registry.desk import Desk
from slipway.repositories import collection
from tests.buckets import bucket_server, new_bucket
from tests.registry_client import RegistryClient, digest_of, in_this_thread, nothing_else

DATA = random.Random(6).randbytes(PIECE + 5000)


@pytest.fixture
def store() -> Iterator[BucketStore]:  # in place of the directory
    with bucket_server() as endpoint:
        yield new_bucket(endpoint)


def test_pushed_in_chunks_by_two_processes_pulled_in_parts_and_swept(
    client: RegistryClient, path: str, store: BucketStore, pulls: list[UUID]
) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    client.call("PATCH", location, DATA[:3000])
    client.registry = Registry(nothing_else, Desk(in_this_thread, store, pulls.append))
    assert client.call("GET", location).headers["range"] == "0-2999"
    client.call("PATCH", location, DATA[3000:], content_range=f"3000-{len(DATA) - 1}")
    digest = digest_of(DATA)
    assert client.call("PUT", f"{location}?digest={digest}").status == 201
    manifest = client.push_image(path, "v1", DATA)
    assert client.call("GET", f"/v2/{path}/blobs/{digest}").body == DATA
    part = client.call("GET", f"/v2/{path}/blobs/{digest}", range=f"bytes={PIECE - 5}-{PIECE + 4}")
    assert (part.status, part.body) == (206, DATA[PIECE - 5 : PIECE + 5])
    assert client.call("DELETE", f"/v2/{path}/manifests/{manifest}").status == 202
    collection.sweep_blobs(store)
    assert (list(store.blobs()), list(store.uploads())) == ([], [])
    assert collection.find_strays(store, timezone.now()) == 0
