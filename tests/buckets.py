"""A server that speaks S3, of this process and on loopback, and buckets in it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.blobs.places import BucketPlace
from slipway.blobs.s3 import BucketStore, connect


@contextmanager
def bucket_server() -> Iterator[str]:
    """Its address; moto's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(endpoint: str) -> BucketStore:
    name = f"b{random.randrange(10**9)}"
    made = connect(BucketPlace(name, "some/prefix/", endpoint, "us-east-1", "key", "secret"))
    made.client.create_bucket(Bucket=name)
    return made
