"""What the extractor keeps, replaces and refuses."""

from __future__ import annotations

import gzip
import io
import os
import stat
from pathlib import Path

import pytest

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import (
    SCOPE,
    load,
    nothing_is_left,
    unpacked,
)
from workers.engine import importing
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.layers import ArchiveLimits
from workers.engine.places import Places
from workers.errors import InvalidArchive


def test_names_modes_owners_times_and_attributes_are_kept(places: Places) -> None:
    long = "d" * 120 + "/" + "n" * 200
    layer = unpacked(
        places,
        [
            E("closed/", kind=archives.DIRECTORY, mode=0o500, uid=7),
            E("closed/file", b"x" * 3_000_000, mode=0o6750, uid=8, gid=9, xattrs={"user.note": b"kept"}),
            E(long, b"long"),
            E("fifo", kind=archives.FIFO, mode=0o622),
            E("link", kind=archives.SYMLINK, link="../../etc/passwd", uid=3),
            E("same", kind=archives.LINK, link="closed/file"),
        ],
    )
    file = (layer / "closed/file").stat()
    assert (file.st_mode & 0o7777, file.st_uid, file.st_gid, file.st_size) == (0o6750, 8, 9, 3_000_000)
    assert (file.st_mtime, file.st_nlink) == (0, 2)
    assert os.getxattr(layer / "closed/file", "user.note") == b"kept"
    assert ((layer / "closed").stat().st_mode & 0o7777, (layer / "closed").stat().st_uid) == (0o500, 7)
    assert (layer / long).read_bytes() == b"long"
    assert stat.S_IMODE((layer / "fifo").stat().st_mode) == 0o622
    assert (os.readlink(layer / "link"), (layer / "link").lstat().st_uid) == ("../../etc/passwd", 3)


def test_attributes_that_would_speak_to_the_host_are_dropped(places: Places) -> None:
    xattrs = {"trusted.overlay.opaque": b"y", "trusted.overlay.redirect": b"/x", "user.overlay.opaque": b"y",
              "security.selinux": b"label", "trusted.mine": b"x", "user.mine": b"kept"}  # fmt: skip
    layer = unpacked(
        places, [E("d/", kind=archives.DIRECTORY, mode=0o755, xattrs=xattrs), E("f", xattrs=xattrs)]
    )
    assert os.listxattr(layer / "d") == os.listxattr(layer / "f") == ["user.mine"]


def test_whiteouts_become_overlays_own_however_they_come(places: Places) -> None:
    layer = unpacked(
        places,
        [
            E(".wh.plain"),
            E("d/.wh.linked", kind=archives.LINK, link=".wh.plain"),
            E(".wh..wh.plnk/1.2", b"aufs"),
            E("stays"),
            E(".wh.stays"),
        ],
    )
    for name in ("plain", "d/linked"):
        found = (layer / name).lstat()
        assert (stat.S_ISCHR(found.st_mode), found.st_rdev) == (True, 0)
    assert stat.S_ISREG((layer / "stays").stat().st_mode)
    assert sorted(os.listdir(layer)) == ["d", "plain", "stays"]


def test_device_nodes_below_dev_are_left_out_and_named(store: ImageStore) -> None:
    data = tar([E("dev/null", kind=archives.CHARACTER, device=(1, 3)), E("bin/sh", mode=0o755)])
    imported = importing.import_archive(store, io.BytesIO(data), scope=SCOPE)
    assert imported.warnings == ("Device nodes were left out: 'dev/null'",)
    layer = store.places.layer(imported.layers[0].diff_id)
    assert os.listdir(layer / "dev") == []


def test_later_entries_replace_earlier_ones(places: Places) -> None:
    layer = unpacked(
        places,
        [
            E("a/b/c", b"1"), E("a/link", kind=archives.SYMLINK, link="b"), E("a", b"now a file"),
            E("f", b"1"), E("f/", kind=archives.DIRECTORY, mode=0o755), E("f/g", b"2"),
            E("s", kind=archives.SYMLINK, link="/etc/passwd"), E("s", b"no longer a link"),
        ],
    )  # fmt: skip
    assert (layer / "a").read_bytes() == b"now a file"
    assert (layer / "f/g").read_bytes() == b"2"
    assert (layer / "s").read_bytes() == b"no longer a link"


ESCAPE = "var/tmp/slipway-escaped"
EVIL = {
    "a file through an absolute link": [
        E("l", kind=archives.SYMLINK, link="/var/tmp"), E("l/slipway-escaped", b"x"),
    ],
    "a file through a climbing link": [
        E("l", kind=archives.SYMLINK, link="../../../../../../var/tmp"), E("l/slipway-escaped", b"x"),
    ],
    "a file over a link": [E("f", kind=archives.SYMLINK, link=f"/{ESCAPE}"), E("f", b"x")],
    "an absolute path": [E(f"/{ESCAPE}", b"x")],
    "a directory's mode through a link": [
        E("d/", kind=archives.DIRECTORY, mode=0o777), E("d", kind=archives.SYMLINK, link="/var/tmp"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("entries", EVIL.values(), ids=EVIL.keys())
def test_whatever_links_do_they_do_inside(places: Places, entries: list[E]) -> None:
    before = Path("/var/tmp").stat().st_mode
    try:
        unpacked(places, entries)
    except InvalidArchive:
        assert list(places.layer_ingest.iterdir()) == []
    assert not Path(f"/{ESCAPE}").exists()
    assert Path("/var/tmp").stat().st_mode == before


REFUSED = {
    "a path that climbs": ([E("../out", b"x")], "'../out': '..'"),
    "a path that climbs in the middle": ([E("a/../../out", b"x")], "'a/../../out'"),
    "an absolute hard link": ([E("h", kind=archives.LINK, link="/etc/passwd")], "'h': hard link to the abs"),
    "a climbing hard link": ([E("h", kind=archives.LINK, link="../etc/passwd")], "'h': '..'"),
    "a hard link through a link": (
        [E("s", kind=archives.SYMLINK, link="/etc"), E("h", kind=archives.LINK, link="s/passwd")],
        "'h': hard link to 's/passwd', which leads through a link",
    ),
    "a hard link to nothing": ([E("h", kind=archives.LINK, link="x")], "'x', which comes nowhere"),
    "a hard link to a whiteout": (
        [E(".wh.x"), E("h", kind=archives.LINK, link="x")], "'h': hard link to 'x', which is no file",
    ),
    "a block device": ([E("disk", kind=archives.BLOCK, device=(8, 0))], "'disk': device nodes"),
    "a false whiteout": ([E("gone", kind=archives.CHARACTER)], "'gone': device nodes"),
    "a whiteout of the parent": ([E("d/.wh...", b"")], "a whiteout of nothing"),
    "a directory like a whiteout": ([E(".wh.d/f")], "name of a whiteout"),
    "a file as a directory": ([E("f", b"x"), E("f/g", b"x")], "'f/g': Not a directory"),
    "a name too long": ([E("n" * 300)], "File name too long"),
    "an unknown type": ([E("odd", kind=b"Z")], "'odd': entries of type b'Z'"),
    "links in a circle": (
        [E("a", kind=archives.SYMLINK, link="b"), E("b", kind=archives.SYMLINK, link="a"), E("a/x", b"x")],
        "'a/x': Too many levels",
    ),
    "an attribute too large": ([E("f", xattrs={"user.big": b"x" * 70_000})], "'f': attribute 'user.big'"),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_an_evil_entry_is_refused_by_name_and_leaves_nothing(
    store: ImageStore, entries: list[E], why: str
) -> None:
    with pytest.raises(InvalidArchive) as raised:
        load(store, archives.docker_save([tar(entries)]))
    assert why in raised.value.message
    assert nothing_is_left(store.places)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (ArchiveLimits(entries=10), "more than 10 entries"),
        (ArchiveLimits(unpacked_bytes=1 << 20), "more than 1048576 bytes"),
    ],
)
def test_a_bomb_stops_at_the_limit(places: Places, limits: ArchiveLimits, why: str) -> None:
    entries = [E("a/b/c/d/e/f/g/h/i/j/k/l"), E("zeros", bytes(4 << 20))]
    if limits.entries > 10:
        entries = entries[1:]
    store = ImageStore(places, LinuxKernel(), limits)
    with pytest.raises(InvalidArchive, match=why):
        load(store, gzip.compress(tar(entries)))
    assert nothing_is_left(places)
