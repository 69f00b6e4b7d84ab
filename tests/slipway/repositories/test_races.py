"""Pushes, deletions and sweeps of the same blobs at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.blobs.directory import DirectoryStore
from slipway.projects.models import Project, Reservation
from slipway.repositories import collection, manifests
from slipway.repositories.errors import NoSuchManifest
from slipway.repositories.models import Blob, BlobLink, Manifest, ManifestBlob
from tests.factories import make_actor, make_project
from tests.slipway.repositories.pushing import Pusher

LAYER = b"layer" * 100
TURNS = 10


class Race:
    def __init__(self, store: DirectoryStore, project: Project, actors: list[Actor]) -> None:
        self.store, self.project, self.actors = store, project, actors
        self.failures: list[BaseException] = []
        self.over = threading.Event()

    def push(self, number: int) -> None:
        """Images that share all layers, over and over; none of their blobs may be taken from under them."""
        pusher = Pusher(self.project, self.store, self.actors[number])
        for turn in range(TURNS):
            pusher.image(f"repo{number}", f"t{turn % 3}", LAYER, bytes([turn % 4]))

    def delete(self) -> None:
        access = Pusher(self.project, self.store, self.actors[-1]).access
        for manifest in Manifest.objects.select_related("repository").defer("content"):
            with contextlib.suppress(NoSuchManifest):
                manifests.delete_manifest(access, manifest.repository.path, manifest.digest)

    def sweep(self) -> None:
        collection.sweep_blobs(self.store)
        collection.release_links(timezone.now())

    def run(self) -> None:
        pushers = [self._thread(lambda number=number: self.push(number)) for number in range(2)]
        others = [self._thread(lambda act=act: self._over_and_over(act)) for act in self._others]
        for thread in (*pushers, *others):
            thread.start()
        for thread in pushers:
            thread.join()
        self.over.set()
        for thread in others:
            thread.join()

    @property
    def _others(self) -> tuple[Callable[[], None], ...]:
        return self.delete, self.sweep, self.sweep

    def _over_and_over(self, act: Callable[[], None]) -> None:
        while not self.over.is_set():
            act()

    def _thread(self, act: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001  # the test tells it
                self.failures.append(error)
            finally:
                connections.close_all()

        return threading.Thread(target=guarded)


@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_pushed_meanwhile_is_ever_swept(tmp_path: Path) -> None:
    """In the end every manifest is whole; and once all are deleted, nothing is left."""
    store = DirectoryStore(tmp_path / "blobs")
    project = make_project(slug="shop")
    race = Race(store, project, [make_actor(project.team) for _ in range(3)])
    race.run()
    assert race.failures == []
    for blob in Blob.objects.filter(links__isnull=False).distinct():
        assert store.open(blob.key).size == blob.size
    references = ManifestBlob.objects.select_related("manifest")
    named = {(row.manifest.repository_id, row.blob_id) for row in references}
    assert named <= set(BlobLink.objects.values_list("repository", "blob"))
    assert {stored.name for stored in store.blobs()} == set(Blob.objects.values_list("key", flat=True))

    race.delete()
    collection.release_links(timezone.now() + timedelta(hours=2))
    collection.sweep_blobs(store)
    assert (list(store.blobs()), Reservation.objects.count()) == ([], 0)
