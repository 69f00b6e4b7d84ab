from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import archives as made
from tests.archives import E, tar
from workers.engine import archives
from workers.engine.layouts import ImageFiles, read_images
from workers.errors import DigestMismatch, InvalidArchive, InvalidManifest, SlipwayError
from workers.oci.descriptor import Platform

HOST = Platform("linux", "amd64")
BOTTOM, TOP = tar([E("a", b"1")]), tar([E("b", b"2")])


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path


def read_all(data: bytes, spool: Path) -> tuple[ImageFiles, ...]:
    with archives.opened(io.BytesIO(data), spool, 1 << 20) as files:
        return () if files is None else read_images(files, HOST)


def read(data: bytes, spool: Path) -> ImageFiles | None:
    found = read_all(data, spool)
    assert len(found) < 2
    return found[0] if found else None


def test_both_layouts_say_the_same_about_an_image(spool: Path) -> None:
    saved, laid = read(made.docker_save([BOTTOM, TOP]), spool), read(made.oci_image([BOTTOM, TOP]), spool)
    assert saved is not None
    assert laid is not None
    assert saved.image_id == laid.image_id
    assert saved.config == laid.config
    assert [layer.part.size for layer in saved.layers] == [layer.part.size for layer in laid.layers]
    assert (saved.names, laid.names) == (("team/web:1",), ("docker.io/library/web:2",))
    assert saved.manifest is None
    assert laid.manifest is not None


def test_a_compressed_archive_is_read_and_leaves_no_file(spool: Path) -> None:
    image = read(gzip.compress(made.docker_save([BOTTOM])), spool)
    assert image is not None
    assert list(spool.iterdir()) == []


def test_a_root_filesystem_is_told_apart_even_with_blobs_in_it(spool: Path) -> None:
    assert read(tar([E("./", kind=made.DIRECTORY), E("bin/sh")]), spool) is None
    assert read(tar([E("blobs/sha256/x"), E("bin/sh")]), spool) is None
    assert read(gzip.compress(tar([E("blobs/sha256/x"), E("bin/sh")])), spool) is None


def test_a_layer_that_is_a_link_to_another_is_found(spool: Path) -> None:
    text = made.config([made.sha256(BOTTOM)] * 2)
    manifest = [{"Config": "c.json", "RepoTags": None, "Layers": ["1/layer.tar", "2/layer.tar"]}]
    data = tar(
        [
            E("c.json", text),
            E("1/layer.tar", BOTTOM),
            E("2/layer.tar", kind=made.SYMLINK, link="../1/layer.tar"),
            E("manifest.json", json.dumps(manifest).encode()),
        ]
    )
    image = read(data, spool)
    assert image is not None
    assert image.layers[0] == image.layers[1]


def test_one_image_under_two_names_keeps_both(spool: Path) -> None:
    text = made.config([made.sha256(BOTTOM)])
    document = made.manifest(text, [BOTTOM])
    entries = [
        made.descriptor(made.MANIFEST, document, annotations={"io.containerd.image.name": name})
        for name in ("docker.io/library/web:1", "docker.io/library/web:2")
    ]
    image = read(made.oci_layout(entries, [document, text, BOTTOM]), spool)
    assert image is not None
    assert image.names == ("docker.io/library/web:1", "docker.io/library/web:2")


def test_the_image_for_this_node_is_taken_from_an_inner_index(spool: Path) -> None:
    text = made.config([made.sha256(BOTTOM)])
    document = made.manifest(text, [BOTTOM])
    inner = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": made.INDEX,
            "manifests": [
                made.descriptor(made.MANIFEST, b"absent", platform={"os": "linux", "architecture": "arm64"}),
                made.descriptor(made.MANIFEST, document, platform={"os": "linux", "architecture": "amd64"}),
            ],
        }
    ).encode()
    image = read(
        made.oci_layout([made.descriptor(made.INDEX, inner)], [inner, document, text, BOTTOM]), spool
    )
    assert image is not None
    assert image.manifest == document


def saved_together() -> bytes:
    """Two images of which one has two names, as `docker save a b` wrote it."""
    texts = [made.config([made.sha256(each)], Cmd=[f"{n}"]) for n, each in enumerate((BOTTOM, TOP))]
    files = [(made.sha256(text)[7:] + ".json", text) for text in texts]
    manifest = [
        {"Config": files[0][0], "RepoTags": ["web:1", "web:2"], "Layers": ["1/layer.tar"]},
        {"Config": files[1][0], "RepoTags": ["db:1"], "Layers": ["2/layer.tar"]},
    ]
    files += [("1/layer.tar", BOTTOM), ("2/layer.tar", TOP), ("manifest.json", json.dumps(manifest).encode())]
    return tar(E(name, data) for name, data in files)


def laid_together() -> bytes:
    """The same in OCI's layout; one of the two is there for another platform as well."""
    blobs: list[bytes] = []
    entries: list[dict[str, object]] = []
    arm = {"os": "linux", "architecture": "arm64"}
    for names, layer, platform in (
        (("web:1", "web:2"), BOTTOM, None),
        (("db:1",), TOP, {"os": "linux", "architecture": "amd64"}),
    ):
        text = made.config([made.sha256(layer)])
        document = made.manifest(text, [layer])
        blobs += [layer, text, document]
        for name in names:
            named = {"io.containerd.image.name": f"docker.io/library/{name}"}
            entries.append(made.descriptor(made.MANIFEST, document, annotations=named, platform=platform))
            if platform:
                other = made.descriptor(made.MANIFEST, b"absent", annotations=named, platform=arm)
                entries.append(other)
    return made.oci_layout(entries, blobs)


@pytest.mark.parametrize("make", [saved_together, laid_together])
def test_images_saved_together_are_all_read(make: Callable[[], bytes], spool: Path) -> None:
    web, db = read_all(make(), spool)
    assert [name.removeprefix("docker.io/library/") for name in web.names] == ["web:1", "web:2"]
    assert [name.removeprefix("docker.io/library/") for name in db.names] == ["db:1"]
    assert web.config.diff_ids != db.config.diff_ids


def with_member(data: bytes, name: str, content: bytes) -> bytes:
    """The archive with one file replaced."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = [
            E(info.name, content if info.name == name else archive.extractfile(info).read())  # type: ignore[union-attr]  # files only
            for info in archive
        ]
    return tar(entries)


SAVED = made.docker_save([BOTTOM])
LAID = made.oci_image([BOTTOM])
CONFIG = made.config([made.sha256(BOTTOM)])


@pytest.mark.parametrize(
    ("data", "error", "why"),
    [
        (b"", InvalidArchive, "cut off"),
        (b"not a tar" * 200, InvalidArchive, "no valid tar header"),
        (tar([]), InvalidArchive, "empty"),
        (gzip.compress(SAVED)[:-20], InvalidArchive, "broken or cut off"),
        (b"BZh91AY&SY" + bytes(600), InvalidArchive, "bzip2"),
        (SAVED[:1500], InvalidArchive, "cut off"),
        (with_member(SAVED, "manifest.json", b"{}"), InvalidArchive, "lists no image"),
        (with_member(SAVED, "manifest.json", b'[{"Config": 1}]'), InvalidManifest, "docker save"),
        (
            with_member(SAVED, "manifest.json", b'[{"Config": "x", "Layers": []}]'),
            InvalidArchive,
            "names 'x'",
        ),
        (with_member(SAVED, made.sha256(CONFIG)[7:] + ".json", b"{}"), DigestMismatch, "The config"),
        (made.docker_save([BOTTOM], text=made.config([])), InvalidManifest, "1 layers.*0 diff_ids"),
        (made.docker_save([b""] * 501), InvalidManifest, "has 501 layers; at most 500"),
        (with_member(LAID, "oci-layout", b'{"imageLayoutVersion":"9"}'), InvalidArchive, "version '9'"),
        (
            with_member(LAID, f"blobs/sha256/{made.sha256(CONFIG)[7:]}", CONFIG + b" "),
            DigestMismatch,
            "The config",
        ),
        (
            with_member(LAID, f"blobs/sha256/{made.sha256(BOTTOM)[7:]}", b"short"),
            InvalidArchive,
            "has 5 bytes",
        ),
        (made.oci_layout([], []), InvalidArchive, "no image"),
        (
            made.oci_layout([made.descriptor(made.MANIFEST, bytes([n])) for n in range(2)], []),
            InvalidArchive,
            "does not hold it",
        ),
        (made.oci_layout([made.descriptor(made.MANIFEST, b"gone")], []), InvalidArchive, "does not hold it"),
    ],
)
def test_a_wrong_archive_is_refused_and_says_why(
    data: bytes, error: type[SlipwayError], why: str, spool: Path
) -> None:
    with pytest.raises(error, match=why):
        read(data, spool)


def test_a_compressed_archive_cannot_fill_the_disk(spool: Path) -> None:
    bomb = gzip.compress(tar([E("manifest.json", bytes(4 << 20))]))
    with pytest.raises(InvalidArchive, match="more than 1048576 bytes"):
        read(bomb, spool)
    assert list(spool.iterdir()) == []
