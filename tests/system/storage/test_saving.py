"""Images leave as archives that this and other programs read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import OTHER, SCOPE, load
from workers.engine import importing, saving
from workers.engine.images import Image, ImageStore
from workers.errors import InvalidReference, NodeError, NoSuchImage, UserError

LAYERS = [tar([E(f"file-{number}", os.urandom(3000 + number))]) for number in range(2)]
NAMES = ["docker.io/team/web:1", "example.org/web:2"]


@pytest.fixture
def image(store: ImageStore) -> Image:
    return load(store, archives.docker_save([*LAYERS, LAYERS[0]]))


def saved(store: ImageStore, image: Image, layout: str, names: list[str] = NAMES) -> bytes:
    archive = saving.save(store, SCOPE, image.image_id, layout, names)
    data = b"".join(archive.pieces)
    assert len(data) == archive.size
    return data


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_what_was_saved_is_the_same_image_again(store: ImageStore, image: Image, layout: str) -> None:
    data = saved(store, image, layout)
    again = importing.import_archive(store, io.BytesIO(data), scope=OTHER)
    assert again.image_id == image.image_id
    assert again.references == ("team/web:1", "example.org/web:2")
    assert [layer.diff_id for layer in again.layers] == [layer.diff_id for layer in image.layers]
    assert saved(store, image, layout) == data


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_a_layer_that_occurs_twice_is_in_it_once(store: ImageStore, image: Image, layout: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(saved(store, image, layout))) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names)) == {"docker": 4, "oci": 6}[layout]


@pytest.mark.parametrize(("layout", "transport"), [("docker", "docker-archive"), ("oci", "oci-archive")])
def test_skopeo_reads_it(
    store: ImageStore, image: Image, layout: str, transport: str, tmp_path: Path
) -> None:
    (tmp_path / "saved.tar").write_bytes(saved(store, image, layout, NAMES[:1]))
    command = ["skopeo", "inspect", "--config", "--raw", f"{transport}:{tmp_path}/saved.tar"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    assert json.loads(shown) == json.loads(image.config_text)


def test_an_image_without_a_name_is_saved_as_well(store: ImageStore, image: Image) -> None:
    for layout in ("docker", "oci"):
        again = importing.import_archive(store, io.BytesIO(saved(store, image, layout, [])), scope=OTHER)
        assert (again.image_id, again.references) == (image.image_id, ())


def test_what_cannot_be_saved_is_said_before_the_first_byte(store: ImageStore, image: Image) -> None:
    for scope, layout, names, error in (
        (OTHER, "docker", NAMES, NoSuchImage),
        (SCOPE, "zip", NAMES, UserError),
        (SCOPE, "oci", ["UPPER"], InvalidReference),
    ):
        with pytest.raises(error):
            saving.save(store, scope, image.image_id, layout, names)


def test_a_layer_that_goes_meanwhile_ends_it_with_an_error(store: ImageStore, image: Image) -> None:
    archive = saving.save(store, SCOPE, image.image_id, "docker", NAMES)
    store.places.layer(image.layers[1].diff_id).joinpath("file-1").unlink()
    with pytest.raises(NodeError, match="damaged"):
        list(archive.pieces)
