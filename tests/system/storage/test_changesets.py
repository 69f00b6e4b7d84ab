"""Layers go out with the bytes they came with."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import CAP_NET_RAW, LAYER, SCOPE, load, nothing_is_left
from workers.engine import changesets, images, layers
from workers.engine.images import ImageStore
from workers.engine.places import Places
from workers.errors import InvalidArchive, LayerNotKept, NodeError


def kept(places: Places, data: bytes) -> str:
    """Unpack ``data`` as a layer and give it its name; its diffID."""
    with layers.lease(places):
        layer = layers.unpack(places, io.BytesIO(data))
        layers.keep(places, layer)
    assert list(places.layer_ingest.iterdir()) == []
    return layer.facts.diff_id


def given_back(places: Places, diff_id: str) -> bytes:
    return b"".join(changesets.stream_layer(places, diff_id))


def of_format(kind: int, members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# --------------------------------------------------------------------------- odd archives

segments = st.sampled_from(["a", "b", "dev", "ü", "n" * 90, ".wh.a", ".wh..wh..opq", ".wh..wh.plnk"])
names = st.builds(
    lambda prefix, parts: prefix + "/".join(parts),
    st.sampled_from(["", "./", "/", ".//"]),
    st.lists(segments, min_size=1, max_size=3),
)
kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
     tarfile.FIFOTYPE]
)  # fmt: skip


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(names))
    info.type = draw(kinds)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.sampled_from([0, 7, 3_000_000])), draw(st.sampled_from([0, 100]))
    info.mtime = draw(st.sampled_from([0, 1, 1_700_000_000, 1_700_000_000.25, -5]))
    info.uname = draw(st.sampled_from(["", "root", "somebody"]))
    data = b""
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(st.sampled_from(["a", "b/a", "b", "./a/b", "n" * 90 + "/" + "b" * 60]))
    elif info.isreg():
        data = draw(st.sampled_from([b"", b"x", bytes(511), b"y" * 512, os.urandom(3000), b"z" * 1_200_000]))
    if draw(st.booleans()) and info.isreg():
        info.pax_headers = {"SCHILY.xattr.user.note": "kept", "comment": "of no use"}
    return info, data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(members(), min_size=1, max_size=9),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([b"", bytes(512), bytes(3), b"not a tar at all" * 100]),
    st.booleans(),
)
def test_any_tar_that_unpacks_is_given_back_byte_for_byte(
    places: Places, entries: list[tuple[tarfile.TarInfo, bytes]], kind: int, trailing: bytes, ended: bool
) -> None:
    data = of_format(kind, entries)
    data = data + trailing if ended else _without_end(data)
    try:
        diff_id = kept(places, data)
    except InvalidArchive:
        assert nothing_is_left(places)
        event("refused")
        return
    assert given_back(places, diff_id) == data
    shutil.rmtree(places.layer(diff_id))
    shutil.rmtree(places.layer_notes(diff_id))


def _without_end(data: bytes) -> bytes:
    """Cut after the last entry, as some programs leave it."""
    file = io.BytesIO(data)
    with tarfile.open(fileobj=file) as archive:
        last = archive.getmembers()[-1]
        return data[: last.offset_data + -(-last.size // 512) * 512 * last.isreg()]


REPLACED = {
    "a file by a file": [E("f", b"old"), E("f", b"newer"), E("f", b"newest of all")],
    "a file by an equal file": [E("f", b"same"), E("f", b"same")],
    "a file by an empty one and back": [E("f", b"old"), E("f"), E("f", b"new")],
    "a directory with files by a file": [E("d/a", b"1"), E("d/b/c", b"22"), E("d", b"file")],
    "a file by a directory": [E("f", b"old"), E("f/", kind=archives.DIRECTORY), E("f/g", b"new")],
    "a link by a file": [E("f", b"one"), E("l", kind=archives.LINK, link="f"), E("l", b"two")],
    "a file that has a link": [E("f", b"one"), E("l", kind=archives.LINK, link="f"), E("f", b"two")],
    "a link to a link": [
        E("s", kind=archives.SYMLINK, link="x"), E("l", kind=archives.LINK, link="s"),
        E("l", b"one"), E("l", b"three"),
    ],
    "a file through a link": [
        E("d/", kind=archives.DIRECTORY), E("s", kind=archives.SYMLINK, link="d"), E("s/f", b"one"),
        E("d/f", b"two"), E("s", b"three"), E("d/f", b"four"),
    ],
    "a directory a link led to": [
        E("d/f", b"one"), E("s", kind=archives.SYMLINK, link="d"), E("s/g", b"two"), E("d", b"file"),
        E("d/", kind=archives.DIRECTORY), E("s/g", b"five"),
    ],
    "content that is not unpacked": [
        E(".", b"of the root"), E(".wh.gone", b"of a whiteout"), E(".wh..wh.plnk/1", b"of aufs"),
        E("dev/null", kind=archives.CHARACTER, device=(1, 3)), E("f", b"x"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("entries", REPLACED.values(), ids=REPLACED.keys())
def test_what_a_later_entry_took_away_is_given_back(places: Places, entries: list[E]) -> None:
    data = tar(entries)
    assert given_back(places, kept(places, data)) == data


def test_the_notes_of_a_layer_are_small(places: Places) -> None:
    data = tar(E(f"usr/share/doc/package-{n}/copyright", os.urandom(700)) for n in range(2000))
    diff_id = kept(places, data)
    size = sum(file.stat().st_size for file in places.layer_notes(diff_id).iterdir())
    assert size < len(data) / 40
    assert given_back(places, diff_id) == data


# --------------------------------------------------------------------------- what was there before


def test_a_layer_without_notes_is_named_and_importing_it_again_helps(store: ImageStore) -> None:
    places = store.places
    image = load(store, archives.docker_save([LAYER]))
    diff_id = image.layers[0].diff_id
    inode = places.layer(diff_id).stat().st_ino
    shutil.rmtree(places.layer_notes(diff_id))
    with pytest.raises(LayerNotKept, match="import its image again"):
        next(changesets.stream_layer(places, diff_id))
    load(store, archives.docker_save([LAYER]))
    assert given_back(places, diff_id) == LAYER
    assert places.layer(diff_id).stat().st_ino == inode
    assert list(places.layer_ingest.iterdir()) == []


def test_a_damaged_layer_is_not_passed_on_as_whole(places: Places) -> None:
    diff_id = kept(places, LAYER)
    file = places.layer(diff_id) / "bin/sh"
    file.write_bytes(b"SH")
    with pytest.raises(NodeError, match="no longer give its bytes"):
        given_back(places, diff_id)
    file.write_bytes(b"s")
    with pytest.raises(NodeError, match="1 bytes are missing"):
        given_back(places, diff_id)


def test_notes_go_with_their_layer(store: ImageStore) -> None:
    places = store.places
    image = load(store, archives.docker_save([LAYER]))
    diff_id = image.layers[0].diff_id
    images.withdraw(store, SCOPE, image.image_id)
    images.sweep(store)
    assert not places.layer(diff_id).exists()
    assert not places.layer_notes(diff_id).exists()


def test_notes_that_a_cut_off_sweep_left_are_swept(store: ImageStore) -> None:
    diff_id = load(store, archives.docker_save([LAYER])).layers[0].diff_id
    images.withdraw(store, SCOPE, images.image_ids(store, SCOPE)[0])
    shutil.rmtree(store.places.layer(diff_id))
    images.sweep(store)
    assert not store.places.layer_notes(diff_id).exists()


# --------------------------------------------------------------------------- the canonical form


def test_an_upper_becomes_a_layer_that_unpacks_to_the_same(places: Places, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "opaque").mkdir(parents=True)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "opaque", "trusted.overlay.origin", b"of no use")
    (upper / "opaque/file").write_bytes(b"new")
    os.mknod(upper / "gone", 0o020000, 0)
    os.link(upper / "gone", upper / "gone-too")  # as overlayfs makes them
    ping = upper / "ping"
    ping.write_bytes(b"program" * 1000)
    os.chown(ping, 5, 3_000_000)
    ping.chmod(0o6755)
    os.setxattr(ping, "security.capability", CAP_NET_RAW)
    os.setxattr(ping, "user.note", b"a=b\nc")
    os.setxattr(ping, "user.overlay.opaque", b"y")
    os.link(ping, upper / "pong")
    os.symlink("t" * 200, upper / ("s" * 120))
    os.utime(upper / ("s" * 120), (5, -7), follow_symlinks=False)
    with layers.lease(places):
        made = changesets.measure(places, upper)
        data = b"".join(changesets.layer_pieces(upper))
        again = layers.unpack(places, io.BytesIO(data))
    assert (again.facts.diff_id, again.facts.size) == (made.facts.diff_id, made.facts.size)
    assert again.directory is not None
    assert b"".join(changesets.layer_pieces(again.directory)) == data
    assert os.getxattr(again.directory / "ping", "security.capability") == CAP_NET_RAW
    assert sorted(os.listxattr(again.directory / "ping")) == ["security.capability", "user.note"]
    assert again.directory.joinpath("gone-too").lstat().st_rdev == 0
    assert os.getxattr(again.directory / "opaque", "trusted.overlay.opaque") == b"y"
    assert again.directory.joinpath("ping").stat().st_ino == again.directory.joinpath("pong").stat().st_ino
    layers.discard(made)
    layers.discard(again)


def test_a_layer_made_here_needs_no_notes_of_its_headers(places: Places) -> None:
    directory = places.layer_ingest / "upper"
    directory.mkdir()
    (directory / "file").write_bytes(b"x" * 100_000)
    os.utime(directory / "file", (2e9, 2e9))
    with layers.lease(places):
        made = changesets.measure(places, directory, mtime_max=1_000_000)
        layers.keep(places, made)
    data = given_back(places, made.facts.diff_id)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("file").mtime == 1_000_000
    assert archives.sha256(data) == made.facts.diff_id
