"""What the sweep frees, and what a full disk does."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import (
    CONTAINER,
    LAYER,
    SCOPE,
    Maker,
    compress,
    load,
    mount,
    nothing_is_left,
    nothing_is_left_but_scopes,
)
from workers.engine import images, layers, recipes, snapshots
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel, Mount
from workers.engine.places import Places
from workers.errors import NodeError, NoSpace


def test_the_sweep_takes_what_nobody_names_and_spares_what_containers_use(store: ImageStore) -> None:
    used = load(store, archives.docker_save([LAYER]))
    free = load(store, archives.docker_save([tar([E("free")])]))
    mounted = mount(store, used)
    (store.places.layer_ingest / "left-by-a-killed-import").mkdir()
    for image in (used, free):
        for _ in range(2):
            images.withdraw(store, SCOPE, image.image_id)
    gone = (free.layers[0].diff_id,)
    assert images.sweep(store, dry_run=True) == images.Swept(gone, 1)
    assert store.places.layer(gone[0]).is_dir()
    assert images.sweep(store) == images.Swept(gone, 1)
    assert not store.places.layer(gone[0]).exists()
    assert mounted.sh("cat bin/sh") == "sh"
    snapshots.remove(store.kernel, store.places, CONTAINER)
    assert images.sweep(store).layers == (used.layers[0].diff_id,)
    assert nothing_is_left_but_scopes(store.places)


def test_the_sweep_does_nothing_while_layers_are_being_worked_with(store: ImageStore) -> None:
    image = load(store, archives.docker_save([LAYER]))
    images.withdraw(store, SCOPE, image.image_id)
    with layers.lease(store.places):
        assert images.sweep(store).busy
    assert store.places.layer(image.layers[0].diff_id).is_dir()


def test_a_damaged_grant_stops_the_sweep_instead_of_losing_layers(store: ImageStore) -> None:
    image = load(store, archives.docker_save([LAYER]))
    store.places.grant(SCOPE, image.image_id).write_bytes(b"{")
    with pytest.raises(NodeError, match="damaged"):
        images.sweep(store)
    assert store.places.layer(image.layers[0].diff_id).is_dir()


@pytest.fixture
def full(places: Places) -> Iterator[Places]:
    """A node whose disk has room for three megabytes."""
    kernel, home = LinuxKernel(), places.data.parent / "small"
    home.mkdir()
    kernel.mount(Mount("tmpfs", "small", (("size", "3m"), ("mode", "0711"))), home)
    small = Places(home / "data", home / "run")
    small.prepare()
    yield small
    kernel.unmount(home)


@pytest.mark.parametrize("make", [archives.docker_save, archives.oci_image])
@pytest.mark.parametrize("how", ["plain", "gzip"])
def test_a_full_disk_is_said_as_such_and_nothing_is_left(full: Places, make: Maker, how: str) -> None:
    data = compress(make([tar([E("random", os.urandom(4 << 20))])]), how)
    with pytest.raises(NoSpace, match="No space left on the disk"):
        load(ImageStore(full, LinuxKernel()), data)
    assert nothing_is_left(full)
    assert shutil.disk_usage(full.data).used < 100_000


def test_an_image_too_large_to_bake_says_so(full: Places) -> None:
    (full.content / "filler").write_bytes(bytes(2 << 20))
    with pytest.raises(NoSpace), tempfile.TemporaryFile(dir=full.content) as file:
        recipes.bake("busybox", file, lambda line, done, total: None)


def test_an_upstream_image_nobody_asked_for_is_given_up(store: ImageStore) -> None:
    old = load(store, archives.docker_save([tar([E("old")])]), images.UPSTREAM)
    used = load(store, archives.docker_save([tar([E("used")])]), images.UPSTREAM)
    mine = load(store, archives.docker_save([tar([E("old")])]), SCOPE)
    for image in (old, used):
        os.utime(store.places.grant(images.UPSTREAM, image.image_id), (1, 1))
    images.touch(store, images.UPSTREAM, used.image_id)
    assert images.give_up_unused(store, time.time()) == (old.image_id,)
    assert images.image_ids(store, images.UPSTREAM) == (used.image_id,)
    assert images.image_ids(store, SCOPE) == (mine.image_id,)
