"""What every blob store does, by the Protocol ``slipway.blobs.store.BlobStore``."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from slipway.blobs.directory import DirectoryStore
from slipway.blobs.keys import new_key
from slipway.blobs.places import BucketPlace, DirectoryPlace, parse_place
from slipway.blobs.s3 import PIECE
from slipway.blobs.store import BlobStore, UploadBusy
from tests.buckets import bucket_server, new_bucket
from workers.errors import NoSuchBlob
from workers.oci.digest import Digest

BIG = random.Random(4).randbytes(2 * PIECE + 12_345)
UPLOAD = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with bucket_server() as address:
        yield address


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "blobs")
    return new_bucket(request.getfixturevalue("endpoint"))


def write(store: BlobStore, data: bytes, offset: int = 0, upload: str = UPLOAD) -> None:
    with store.append(upload, offset) as appender:
        for start in range(0, len(data), 1_000_000):
            appender.write(data[start : start + 1_000_000])


@pytest.mark.parametrize("size", [0, 1, 1000, PIECE, PIECE + 1, len(BIG)])
def test_what_was_written_is_kept_and_read(store: BlobStore, size: int) -> None:
    data = BIG[:size]
    if data:
        write(store, data)
    assert store.received(UPLOAD) == size
    key = store.keep(UPLOAD, Digest.of(data), size)
    reader = store.open(key)
    assert reader.size == size
    assert reader.read(0, size + 10) == data
    assert reader.read(size // 2, 100) == data[size // 2 :][:100]
    assert reader.read(size, 10) == b""
    file = reader.file_at_hand(size // 2, size - size // 2)
    assert file is None or os.pread(file, size, size // 2) == data[size // 2 :]
    assert reader.file_at_hand(size, 10) is None
    reader.close()
    assert store.received(UPLOAD) == 0
    assert list(store.uploads()) == []


@pytest.mark.parametrize("cut", [1, 1000, PIECE - 1, PIECE, PIECE + 77])
def test_an_upload_goes_on_where_it_ended(store: BlobStore, cut: int) -> None:
    write(store, BIG[:cut])
    assert store.received(UPLOAD) == cut
    assert b"".join(store.pieces(UPLOAD, cut)) == BIG[:cut]
    write(store, BIG[cut:], cut)
    assert b"".join(store.pieces(UPLOAD, len(BIG))) == BIG
    assert store.open(store.keep(UPLOAD, Digest.of(BIG), len(BIG))).read(0, len(BIG)) == BIG


@pytest.mark.parametrize("elsewhere", [0, 500, PIECE, len(BIG) - 1, len(BIG) + 1])
def test_an_upload_goes_on_nowhere_but_at_its_end(store: BlobStore, elsewhere: int) -> None:
    """Who looked before others wrote to it must look again."""
    write(store, BIG)
    with pytest.raises(UploadBusy):
        write(store, b"other", elsewhere)
    assert b"".join(store.pieces(UPLOAD, store.received(UPLOAD))) == BIG


def test_many_small_appends_are_one_upload(store: BlobStore) -> None:
    for n in range(20):
        write(store, BIG[n * 100 : (n + 1) * 100], n * 100)
    assert store.open(store.keep(UPLOAD, Digest.of(BIG[:2000]), 2000)).read(0, 3000) == BIG[:2000]


def test_only_what_is_there_as_a_whole_is_kept(store: BlobStore) -> None:
    """Of two who end one upload at once the second finds nothing, and makes no empty blob of it."""
    write(store, b"four")
    with pytest.raises(UploadBusy):
        store.keep(UPLOAD, Digest.of(b"fours"), 5)
    store.keep(UPLOAD, Digest.of(b"four"), 4)
    with pytest.raises(UploadBusy):
        store.keep(UPLOAD, Digest.of(b"four"), 4)
    assert (len(list(store.blobs())), list(store.uploads())) == (1, [])


def test_the_same_bytes_twice_are_two_blobs_each_with_its_own_end(store: BlobStore) -> None:
    keys = []
    for upload in ("a" * 32, "b" * 32):
        write(store, b"same", upload=upload)
        keys.append(store.keep(upload, Digest.of(b"same"), 4))
    assert len(set(keys)) == 2
    assert {stored.name for stored in store.blobs()} == set(keys)
    store.delete(keys[0])
    store.delete(keys[0])
    assert (store.size(keys[0]), store.size(keys[1])) == (None, 4)
    with pytest.raises(NoSuchBlob):
        store.open(keys[0])
    assert store.open(keys[1]).read(0, 10) == b"same"


def test_a_discarded_upload_is_gone(store: BlobStore) -> None:
    write(store, BIG[:2000])
    assert [stored.name for stored in store.uploads()] == [UPLOAD]
    store.discard(UPLOAD)
    store.discard(UPLOAD)
    assert (store.received(UPLOAD), list(store.uploads())) == (0, [])


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "sha256/ab/abc", "sha256/ab/" + "a" * 64 + ".x/../y"]
)
def test_what_is_no_key_names_nothing(store: BlobStore, key: str) -> None:
    for act in (store.open, store.size, store.delete):
        with pytest.raises(NoSuchBlob):
            act(key)


def test_an_upload_has_a_name_of_one_form(store: BlobStore) -> None:
    for upload in ("", "../x", "x" * 33):
        with pytest.raises(ValueError, match="is no upload"):
            store.received(upload)


def test_places_are_parsed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("access\nsecret\n")
    assert parse_place("X", "dir:/var/blobs") == DirectoryPlace(Path("/var/blobs"))
    found = parse_place("X", f"s3://my-bucket/some/where?endpoint=http://127.0.0.1:9000&keys={keys}")
    assert found == BucketPlace(
        "my-bucket", "some/where/", "http://127.0.0.1:9000", "us-east-1", "access", "secret"
    )
    assert "'secret'" not in repr(found)
    for wrong in ("", "dir:relative", "s3://", "s3://Bad_Bucket", "s3://bucket?nonsense=1", "ftp://x"):
        with pytest.raises(ImproperlyConfigured, match="X"):
            parse_place("X", wrong)


def test_a_copy_has_the_key_of_its_original(store: BlobStore) -> None:
    key = new_key(Digest.of(b"data"))
    for _ in range(2):
        write(store, b"data")
        assert store.keep(UPLOAD, Digest.of(b"data"), 4, key) == key
    assert store.open(key).read(0, 10) == b"data"
    assert [each.name for each in store.blobs()] == [key]
    write(store, b"other")
    for wrong, error in ((key, ValueError), ("../../etc/passwd", NoSuchBlob)):
        with pytest.raises(error):
            store.keep(UPLOAD, Digest.of(b"other"), 5, wrong)
