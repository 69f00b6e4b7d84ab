"""Archives of every kind become images of a scope."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tempfile
import threading

import pytest

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import (
    BASE,
    LAYER,
    OTHER,
    ROOTFS,
    SCOPE,
    compress,
    load,
    mount,
    nothing_is_left,
)
from workers.engine import images, importing, recipes
from workers.engine.images import ImageStore
from workers.errors import DigestMismatch, InvalidArchive, NoSuchImage, SlipwayError
from workers.oci.digest import Digest


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("data", [archives.docker_save([LAYER]), archives.oci_image([LAYER]), ROOTFS],
                         ids=["docker save", "oci", "rootfs"])  # fmt: skip
def test_every_kind_of_archive_comes_in_compressed_or_not(store: ImageStore, data: bytes, how: str) -> None:
    imported = importing.import_archive(
        store, io.BytesIO(compress(data, how)), scope=SCOPE, references=["web"]
    )
    image = images.get(store, SCOPE, imported.image_id)
    assert imported.references == ("web:latest",)
    assert imported.config == image.config_text
    assert imported.image_id == str(Digest.of(imported.config.encode()))
    assert imported.manifest_digest == str(Digest.of(image.manifest.encode()))
    assert [str(each) for each in image.config.diff_ids] == [layer.diff_id for layer in image.layers]
    assert (store.places.layer(image.layers[0].diff_id) / "bin/sh").read_bytes() == b"sh"
    assert list(store.places.layer_ingest.iterdir()) == []
    assert images.image_ids(store, SCOPE) == (imported.image_id,)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_compressed_layers_keep_both_their_digests(store: ImageStore, how: str) -> None:
    blob = compress(LAYER, how)
    image = load(store, archives.oci_image([LAYER], blobs=[blob]))
    (layer,) = image.layers
    assert (layer.digest, layer.size) == (archives.sha256(blob), len(blob))
    assert (layer.diff_id, layer.unpacked_size) == (archives.sha256(LAYER), len(LAYER))


def test_a_root_filesystem_takes_changes_and_gets_a_history(store: ImageStore) -> None:
    imported = importing.import_archive(
        store, io.BytesIO(ROOTFS), scope=SCOPE, references=["base:1"], changes=['CMD ["sh"]', "ENV A=1"]
    )
    config = images.get(store, SCOPE, imported.image_id).config
    assert (config.command, config.env, len(config.history)) == (("sh",), ("A=1",), 1)


def test_changes_to_an_image_with_a_config_of_its_own_are_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidArchive, match="config of its own"):
        importing.import_archive(
            store, io.BytesIO(archives.docker_save([LAYER])), scope=SCOPE, changes=["USER www"]
        )


def test_progress_is_told_in_bytes(store: ImageStore) -> None:
    seen: list[tuple[str, int, int]] = []
    data = archives.docker_save([LAYER, tar([E("b")])])
    importing.import_archive(
        store,
        io.BytesIO(data),
        scope=SCOPE,
        progress=lambda line, done, total: seen.append((line, done, total)),
    )
    assert seen[0][0] == "Unpacking layer 1 of 2"
    assert seen[-1] == ("Writing to disk", seen[-1][2], seen[-1][2])
    assert all(done <= total for _, done, total in seen)


def test_a_layer_of_another_scope_cannot_be_had_by_naming_it(store: ImageStore) -> None:
    secret = load(store, archives.docker_save([tar([E("secret", b"s")])]), scope=OTHER)
    wanted = secret.layers[0].diff_id
    thief = archives.config([wanted])
    without_bytes = archives.oci_layout(
        [archives.descriptor(archives.MANIFEST, archives.manifest(thief, [b"never sent"]))],
        [archives.manifest(thief, [b"never sent"]), thief],
    )
    for data in (
        archives.docker_save([LAYER], text=thief),
        archives.docker_save([], text=thief),
        without_bytes,
    ):
        with pytest.raises(SlipwayError):
            load(store, data)
    with pytest.raises(NoSuchImage):
        images.get(store, SCOPE, secret.image_id)
    assert images.image_ids(store, SCOPE) == ()


def test_a_diff_id_that_lies_is_named_with_what_it_is(store: ImageStore) -> None:
    claimed = archives.sha256(b"something else")
    with pytest.raises(DigestMismatch) as raised:
        load(store, archives.docker_save([LAYER], text=archives.config([claimed])))
    actual = archives.sha256(LAYER)
    assert raised.value.facts == {"layer": actual, "expected": claimed, "actual": actual}
    assert nothing_is_left(store.places)


def test_damaged_layer_bytes_are_a_wrong_digest_whatever_else_they_break(store: ImageStore) -> None:
    for blob in (LAYER, gzip.compress(LAYER)):
        data = archives.oci_image([LAYER], blobs=[blob])
        at = data.index(blob) + 10
        broken = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        with pytest.raises(DigestMismatch, match=archives.sha256(blob)):
            load(store, broken)
        assert nothing_is_left(store.places)


@pytest.mark.parametrize("keep", [600, 1100, 1536])
def test_a_root_filesystem_that_was_cut_off_is_refused(store: ImageStore, keep: int) -> None:
    with pytest.raises(InvalidArchive, match="cut off"):
        load(store, ROOTFS[:keep])
    assert nothing_is_left(store.places)


def test_the_same_layer_is_unpacked_once_and_shared(store: ImageStore) -> None:
    first = load(store, archives.docker_save([LAYER]))
    inode = store.places.layer(first.layers[0].diff_id).stat().st_ino
    second = load(store, archives.oci_image([LAYER, tar([E("more")])]), scope=OTHER)
    assert second.layers[0] == first.layers[0]
    assert store.places.layer(first.layers[0].diff_id).stat().st_ino == inode


def test_many_may_import_the_same_at_once(store: ImageStore) -> None:
    data = archives.docker_save([LAYER, tar([E("top", bytes(200_000))])])
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda scope=scope: results.append(load(store, data, scope).image_id))
        for scope in (SCOPE, OTHER, SCOPE, OTHER)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    assert len(list((store.places.layers / "sha256").iterdir())) == 2
    assert list(store.places.layer_ingest.iterdir()) == []


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox-static")
def test_the_busybox_recipe_makes_an_image_that_runs(store: ImageStore) -> None:
    seen: list[str] = []
    with tempfile.TemporaryFile() as file:
        recipes.bake("busybox", file, lambda line, done, total: seen.append(line))
        file.seek(0)
        imported = importing.import_archive(store, file, scope=SCOPE, references=["busybox"])
    image = images.get(store, SCOPE, imported.image_id)
    assert (image.config.command, imported.references) == (("sh",), ("busybox:latest",))
    rootfs = mount(store, image).rootfs
    command = [
        "chroot",
        f"--userspec={BASE}:{BASE}",
        str(rootfs),
        "/bin/sh",
        "-c",
        "ls -ld /tmp | cut -c1-10",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "drwxrwxrwt\n"
    assert any("applets" in line for line in seen)


def test_images_saved_together_come_in_one_after_the_other(store: ImageStore) -> None:
    base, top = tar([E("base", b"1")]), tar([E("top", b"2")])
    manifest = []
    files = [("0.tar", base), ("1.tar", top)]
    for number, name in enumerate(("web:1", "db:1")):
        layers = [base, top][: number + 1]
        files.append((f"{number}.json", archives.config([archives.sha256(layer) for layer in layers])))
        paths = [f"{each}.tar" for each, _ in enumerate(layers)]
        manifest.append({"Config": f"{number}.json", "RepoTags": [name], "Layers": paths})
    files.append(("manifest.json", json.dumps(manifest).encode()))
    data = tar(E(name, content) for name, content in files)
    web, db = importing.import_images(store, io.BytesIO(data), scope=SCOPE)
    assert (web.references, db.references) == (("web:1",), ("db:1",))
    assert web.layers[0] == db.layers[0]
    assert len(images.image_ids(store, SCOPE)) == 2
    with pytest.raises(InvalidArchive, match=r"holds 2 images.*keep their own names"):
        importing.import_archive(store, io.BytesIO(data), scope=SCOPE, references=["one:1"])
    # A later one that is broken takes nothing from those before.
    broken = tar(E(name, content if name != "1.tar" else b"broken" * 200) for name, content in files)
    found = importing.import_images(store, io.BytesIO(broken), scope=OTHER)
    assert next(found).references == ("web:1",)
    with pytest.raises(DigestMismatch):
        next(found)
    assert images.image_ids(store, OTHER) == (web.image_id,)
