"""Blobs moved between stores: whole, again and again, and nothing but what is right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from slipway.blobs.directory import DirectoryStore
from slipway.blobs.places import DirectoryPlace
from slipway.blobs.s3 import PIECE
from slipway.blobs.store import BlobStore
from slipway.operations.moving import Moved, move
from slipway.repositories import collection
from slipway.repositories.models import Blob
from tests.buckets import bucket_server, new_bucket
from tests.factories import make_project
from tests.registry_client import digest_of
from tests.slipway.repositories.pushing import Pusher
from workers.errors import NoSpace

BIG = bytes(range(256)) * (PIECE // 256) + b"and more than one piece"
LAYERS = (b"first", BIG, b"")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with bucket_server() as address:
        yield address


@pytest.fixture(params=["into a bucket", "into a directory"])
def stores(request: pytest.FixtureRequest, endpoint: str, tmp_path: Path) -> tuple[BlobStore, BlobStore]:
    both: tuple[BlobStore, BlobStore] = (DirectoryStore(tmp_path / "blobs"), new_bucket(endpoint))
    return both if request.param == "into a bucket" else both[::-1]


@pytest.fixture
def pusher(db: None, stores: tuple[BlobStore, BlobStore]) -> Pusher:
    pusher = Pusher(make_project(slug="shop"), stores[0])
    pusher.image("web", "1", *LAYERS)
    return pusher


def run(source: BlobStore, target: BlobStore, **more: Any) -> Moved:
    return move(source, target, lambda moved: None, **more)


def contents(store: BlobStore) -> dict[str, bytes]:
    """By key."""
    found = {}
    for blob in Blob.objects.all():
        reader = store.open(blob.key)
        found[blob.key] = reader.read(0, blob.size + 1)
        reader.close()
    return found


def break_bytes(store: BlobStore, blob: Blob, data: bytes) -> None:
    store.delete(blob.key)
    with store.append("0" * 32, 0) as appender:
        appender.write(data)
    if isinstance(store, DirectoryStore):
        (store.root / "uploads" / ("0" * 32)).rename(store.root / "blobs" / blob.key)
    else:
        store._put(f"{store.prefix}blobs/{blob.key}", data)  # type: ignore[attr-defined]
        store.discard("0" * 32)


def test_all_are_copied_once_under_their_own_keys(
    pusher: Pusher, stores: tuple[BlobStore, BlobStore]
) -> None:
    source, target = stores
    moved = run(source, target)
    size = sum(map(len, LAYERS)) + len(b"{}")
    assert (moved.blobs, moved.copied, moved.size, moved.is_whole) == (4, 4, size, True)
    assert contents(target) == contents(source)
    assert list(target.uploads()) == []
    assert (run(source, target).copied, run(source, target, verify=True).copied) == (0, 0)
    pusher.blob("web", b"pushed since")
    assert run(source, target).copied == 1
    assert collection.find_strays(target, timezone.now() + timedelta(hours=2)) == 0  # each has its row


def test_a_run_that_broke_off_goes_on(
    pusher: Pusher, stores: tuple[BlobStore, BlobStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = stores
    kept: list[str] = []
    keep = target.keep

    def full(upload: str, *more: Any) -> str:
        if len(kept) == 2:
            raise NoSpace("The disk is full.")
        kept.append(upload)
        return keep(upload, *more)

    with monkeypatch.context() as patch:
        patch.setattr(target, "keep", full)
        with pytest.raises(NoSpace):
            run(source, target)
    assert len(list(target.blobs())) == 2
    assert list(target.uploads()) == []
    assert run(source, target).copied == 2
    assert contents(target) == contents(source)


def test_what_is_damaged_is_named_and_not_copied(pusher: Pusher, stores: tuple[BlobStore, BlobStore]) -> None:
    source, target = stores
    damaged, lost = (Blob.objects.get(digest=digest_of(data)) for data in (b"first", BIG))
    break_bytes(source, damaged, b"fi\x00st")
    source.delete(lost.key)
    moved = run(source, target)
    assert (moved.damaged, moved.missing, moved.copied) == ([damaged.digest], [lost.digest], 2)
    assert target.size(damaged.key) is None
    assert list(target.uploads()) == []


def test_what_was_damaged_on_its_way_is_copied_again(
    pusher: Pusher, stores: tuple[BlobStore, BlobStore]
) -> None:
    source, target = stores
    run(source, target)
    first, big = (Blob.objects.get(digest=digest_of(data)) for data in (b"first", BIG))
    break_bytes(target, first, b"fi\x00st")
    break_bytes(target, big, BIG[:-1])
    assert run(source, target).copied == 1  # the size tells
    assert run(source, target, verify=True).copied == 1
    assert contents(target) == contents(source)


def test_what_is_swept_meanwhile_is_not_missing(
    pusher: Pusher, stores: tuple[BlobStore, BlobStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = stores
    find = source.open

    def swept(key: str) -> Any:
        Blob.objects.filter(key=key).update(key=key[:-16] + "0" * 16)
        source.delete(key)
        return find(key)

    monkeypatch.setattr(source, "open", swept)
    moved = run(source, target)
    assert (moved.copied, moved.is_whole) == (0, True)


def test_the_command_says_what_to_do_next(
    db: None, tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "old", tmp_path / "new"
    settings.SLIPWAY_BLOBS = DirectoryPlace(source)
    settings.SLIPWAY_PLATFORM_DATA = str(tmp_path)
    pusher = Pusher(make_project(slug="shop"), DirectoryStore(source))
    pusher.image("web", "1", b"layer")
    with pytest.raises(CommandError, match="is no directory"):
        call_command("move_blobs", to=f"dir:{target}")
    target.mkdir()
    call_command("move_blobs", to=f"dir:{target}")
    printed = capsys.readouterr().out
    assert "2 blobs; 2 copied now" in printed
    assert f"SLIPWAY_BLOBS=dir:{target}" in printed
    assert contents(DirectoryStore(target)) == contents(DirectoryStore(source))
    with pytest.raises(CommandError, match="lie already"):
        call_command("move_blobs", to=f"dir:{source}")
    with pytest.raises(CommandError, match="--to: dir:/absolute"):
        call_command("move_blobs", to="ftp://x")
    DirectoryStore(source).delete(Blob.objects.get(digest=digest_of(b"layer")).key)
    DirectoryStore(target).delete(Blob.objects.get(digest=digest_of(b"layer")).key)
    with pytest.raises(CommandError, match="1 blobs are missing"):
        call_command("move_blobs", to=f"dir:{target}")
    assert f"missing: {digest_of(b'layer')}" in capsys.readouterr().out


def test_a_place_that_does_not_answer_is_named(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SLIPWAY_BLOBS = DirectoryPlace(tmp_path)
    settings.SLIPWAY_PLATFORM_DATA = str(tmp_path)
    Pusher(make_project(slug="shop"), DirectoryStore(tmp_path)).image("web", "1", b"layer")
    place = f"s3://bucket/?endpoint=http://127.0.0.1:1&keys={_keys(tmp_path)}"
    with pytest.raises(CommandError, match=r"does not answer.* Run it again"):
        call_command("move_blobs", to=place)


def _keys(directory: Path) -> Path:
    file = directory / "keys"
    file.write_text("access\nsecret\n")
    return file
