"""What nobody needs goes, what anybody needs stays."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from slipway import sweep
from slipway.blobs.directory import DirectoryStore
from slipway.blobs.opening import blob_store
from slipway.blobs.store import BlobStore
from slipway.drift import reconcile
from slipway.repositories import collection, links, manifests, uploads
from slipway.repositories.errors import NoSuchManifest
from slipway.repositories.models import Blob, BlobLink, Manifest, Repository, Upload
from slipway.repositories.services import delete_repository
from slipway.schedule import REGISTRY
from tests.factories import make_project
from tests.registry_client import descriptor, digest_of, image_index, image_manifest
from tests.slipway.repositories.pushing import Pusher
from workers.errors import NoSuchBlob
from workers.oci.descriptor import OCI_MANIFEST
from workers.oci.digest import Digest

LAYER = b"layer" * 100


def later(**more: float) -> datetime:
    return timezone.now() + timedelta(**more)


def blobs(store: BlobStore) -> set[str]:
    return {stored.name.rpartition("/")[2].partition(".")[0] for stored in store.blobs()}


def hexes(*contents: bytes) -> set[str]:
    return {digest_of(each).removeprefix("sha256:") for each in contents}


def test_deleting_the_last_manifest_frees_its_bytes(pusher: Pusher, store: DirectoryStore) -> None:
    manifest = pusher.image("web", "v1", LAYER, b"other")
    pusher.image("web", "v2", LAYER, config=b"{ }")
    assert pusher.held() == 2 + 3 + len(LAYER) + 5 + sum(each.size for each in Manifest.objects.all())
    freed = manifests.delete_manifest(pusher.access, pusher.path("web"), manifest.digest)
    assert freed == manifests.Freed(1, manifest.size + 2 + 5)
    assert collection.sweep_blobs(store) == 2 + 5
    assert blobs(store) == hexes(LAYER, b"{ }")
    assert reconcile() == 0


def test_a_blob_of_two_projects_stays_for_the_other(pusher: Pusher, store: DirectoryStore) -> None:
    other = Pusher(make_project(), store)
    mine, theirs = pusher.image("web", "v1", LAYER), other.image("web", "v1", LAYER)
    assert Blob.objects.count() == 2
    manifests.delete_manifest(pusher.access, pusher.path("web"), mine.digest)
    assert collection.sweep_blobs(store) == 0
    assert (pusher.held(), other.held()) == (0, theirs.size + 2 + len(LAYER))
    assert blobs(store) == hexes(LAYER, b"{}")


def test_a_pushed_blob_waits_for_its_manifest_an_hour(pusher: Pusher, store: DirectoryStore) -> None:
    pusher.blob("web", LAYER)
    assert collection.release_links(later(minutes=50)) == 0
    assert collection.release_links(later(minutes=70)) == len(LAYER)
    collection.sweep_blobs(store)
    assert (blobs(store), pusher.held()) == (set(), 0)


def test_a_named_blob_is_let_go_of_by_its_push_and_stays(pusher: Pusher, store: DirectoryStore) -> None:
    pusher.image("web", "v1", LAYER)
    pusher.blob("web", LAYER)  # again, and no manifest follows
    assert collection.release_links(later(minutes=70)) == 0
    assert not BlobLink.objects.exclude(held_until=None).exists()
    collection.sweep_blobs(store)
    assert blobs(store) == hexes(LAYER, b"{}")


def test_what_a_push_was_told_is_here_stays_for_it(pusher: Pusher, store: DirectoryStore) -> None:
    manifest = pusher.image("web", "v1", LAYER)
    repository = Repository.objects.get()
    for blob in Blob.objects.all():
        links.hold(repository, blob)
    manifests.delete_manifest(pusher.access, pusher.path("web"), manifest.digest)
    collection.sweep_blobs(store)
    pusher.manifest("web", "v2", image_manifest(b"{}", LAYER))
    assert blobs(store) == hexes(LAYER, b"{}")


def test_an_upload_that_fell_silent_costs_nothing_any_more(pusher: Pusher, store: DirectoryStore) -> None:
    upload = uploads.start(pusher.access, pusher.path("web"), 20 << 30)
    with store.append(upload.hex, 0) as file:
        file.write(b"a beginning")
    other = uploads.start(pusher.access, pusher.path("web"), 5000)
    assert pusher.held() == (20 << 30) + 5000
    Upload.objects.filter(pk=other.pk).update(expires_at=later(hours=3))
    assert collection.expire_uploads(store, later(hours=2)) == 1
    assert pusher.held() == 5000
    assert list(store.uploads()) == []


def test_an_index_takes_its_own_manifests_and_their_referrers_along(
    pusher: Pusher, store: DirectoryStore
) -> None:
    amd, arm = (pusher.image("web", None, LAYER, config=config) for config in (b"{}", b"{ }"))
    tagged = pusher.image("web", "kept", b"other layer", config=b"{  }")
    texts = [bytes(each.content) for each in (amd, arm, tagged)]
    index = pusher.manifest("web", "multi", image_index(*(descriptor(each, OCI_MANIFEST) for each in texts)))
    signature = image_manifest(b"{}", subject=descriptor(texts[0], OCI_MANIFEST))
    pusher.manifest("web", None, signature)
    freed = manifests.delete_tag(pusher.access, pusher.path("web"), "multi", with_manifest=True)
    assert freed.manifests == 4
    assert [each.digest for each in Manifest.objects.all()] == [tagged.digest]
    collection.sweep_blobs(store)
    assert blobs(store) == hexes(b"other layer", b"{  }")
    assert index.digest
    assert reconcile() == 0


def test_a_tag_goes_alone_unless_told_otherwise(pusher: Pusher) -> None:
    pusher.image("web", "v1", LAYER)
    pusher.image("web", "v2", LAYER)
    assert manifests.delete_tag(pusher.access, pusher.path("web"), "v1", with_manifest=True).manifests == 0
    assert manifests.delete_tag(pusher.access, pusher.path("web"), "v2").manifests == 0
    assert Manifest.objects.count() == 1
    with pytest.raises(NoSuchManifest):
        manifests.delete_tag(pusher.access, pusher.path("web"), "v2")


def test_a_repository_goes_with_everything(pusher: Pusher, store: DirectoryStore) -> None:
    pusher.image("web", "v1", LAYER)
    pusher.blob("web", b"unused")
    uploads.start(pusher.access, pusher.path("web"), 5 << 20)
    delete_repository(pusher.actor, Repository.objects.get())
    collection.sweep_blobs(store)
    assert (blobs(store), pusher.held(), Upload.objects.count()) == (set(), 0, 0)


def old(path: Path) -> None:
    an_hour_ago = timezone.now().timestamp() - 2 * 3600
    os.utime(path, (an_hour_ago, an_hour_ago))


def test_strays_of_killed_processes_are_found(pusher: Pusher, store: DirectoryStore) -> None:
    pusher.image("web", "v1", LAYER)
    for upload, data in (("a" * 32, b"kept but not noted"), ("b" * 32, b"never kept")):
        with store.append(upload, 0) as file:
            file.write(data)
    stray = store.keep("a" * 32, Digest.of(b"kept but not noted"), 18)
    assert collection.find_strays(store, timezone.now()) == 0  # somebody may be about to note them
    old(store.root / "blobs" / stray)
    old(store.root / "uploads" / ("b" * 32))
    for stored in list(store.blobs()):
        old(store.root / "blobs" / stored.name)
    assert collection.find_strays(store, timezone.now()) == 2
    assert blobs(store) == hexes(LAYER, b"{}")
    assert list(store.uploads()) == []


def test_a_repository_no_push_came_to_anything_in_goes(pusher: Pusher, store: DirectoryStore) -> None:
    upload = uploads.start(pusher.access, pusher.path("typo"), 5)
    uploads.cancel(upload, store)
    pusher.image("web", "v1", LAYER)
    collection.find_strays(store, later(hours=23))
    assert Repository.objects.count() == 2
    collection.find_strays(store, later(hours=25))
    assert [each.name for each in Repository.objects.all()] == ["web"]


def test_a_blob_that_was_lost_is_healed_by_a_push(pusher: Pusher, store: DirectoryStore) -> None:
    blob = pusher.blob("web", LAYER)
    store.delete(blob.key)
    with pytest.raises(NoSuchBlob):
        store.open(blob.key)
    again = pusher.blob("web", LAYER)
    assert store.open(again.key).read(0, 1000) == LAYER


def test_one_sweep_takes_all_there_is(pusher: Pusher, store: DirectoryStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(collection, "ROWS", 2)
    manifest = pusher.image("web", "v1", *(b"layer %d" % n for n in range(7)))
    manifests.delete_manifest(pusher.access, pusher.path("web"), manifest.digest)
    assert collection.sweep_blobs(store) == 7 * len(b"layer 0") + 2
    assert (blobs(store), Blob.objects.count()) == (set(), 0)


def test_a_sweep_that_took_long_leaves_the_rest_for_the_next(pusher: Pusher, store: DirectoryStore) -> None:
    manifest = pusher.image("web", "v1", LAYER)
    manifests.delete_manifest(pusher.access, pusher.path("web"), manifest.digest)
    swept = [collection.sweep_blobs(store, within=0.0) for _ in range(3)]
    assert (sorted(swept), Blob.objects.count()) == ([0, 2, len(LAYER)], 0)


def test_what_lies_in_the_store_is_looked_up_many_at_a_time(
    pusher: Pusher, store: DirectoryStore, django_assert_max_num_queries: Any
) -> None:
    pusher.image("web", "v1", *(b"layer %d" % n for n in range(40)))
    for stored in list(store.blobs()):
        old(store.root / "blobs" / stored.name)
    with django_assert_max_num_queries(10):
        assert collection.find_strays(store, timezone.now()) == 0
    # Of the same digest as a blob that is known, but other bytes: from a push that was killed.
    with store.append("a" * 32, 0) as file:
        file.write(b"layer 1")
    stray = store.keep("a" * 32, Digest.of(b"layer 1"), len(b"layer 1"))
    old(store.root / "blobs" / stray)
    assert collection.find_strays(store, timezone.now()) == 1
    assert len(blobs(store)) == 41
    assert stray not in {stored.name for stored in store.blobs()}


def test_what_somebody_else_put_into_the_store_stops_no_search(pusher: Pusher, store: DirectoryStore) -> None:
    foreign = store.root / "blobs" / "sha256" / "ab" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    old(foreign)
    assert collection.find_strays(store, timezone.now()) == 0
    assert foreign.exists()


def test_the_platforms_sweep_frees_the_stores_bytes(pusher: Pusher) -> None:
    """Of the store the settings name, by the task as the observer runs it."""
    store = blob_store()
    mine = Pusher(pusher.project, store)
    manifest = mine.image("web", "v1", LAYER)
    manifests.delete_manifest(mine.access, mine.path("web"), manifest.digest)
    assert [act for _, act in REGISTRY] == [sweep.sweep_registry]
    assert sweep.sweep_registry(timezone.now()) == 2 + len(LAYER)
    assert not hexes(LAYER, b"{}") & blobs(store)
