"""Layers, images and snapshots on the real kernel."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

from tests import archives
from tests.archives import E, tar
from workers.engine import identity, images, layers, recipes, snapshots
from workers.engine.images import Image, ImageStore
from workers.engine.kernel import LinuxKernel, Mount
from workers.engine.layers import ArchiveLimits
from workers.engine.places import Places
from workers.errors import DigestMismatch, InvalidArchive, NodeError, NoSpace, NoSuchImage, SlipwayError
from workers.oci.digest import Digest

Maker = Callable[[list[bytes]], bytes]

SCOPE, OTHER = "a" * 32, "b" * 32
CONTAINER = "c" * 64
BASE = 3_000_000 + os.getpid() % 1000 * 65536
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture
def places() -> Iterator[Places]:
    # Not below pytest's directory: a container's root must be able to walk to its rootfs.
    home = Path(tempfile.mkdtemp(prefix="slipway-storage-", dir="/var/tmp"))
    home.chmod(0o711)
    places = Places(home / "data", home / "run")
    places.prepare()
    yield places
    kernel = LinuxKernel()
    for mountpoint in (*places.bundles.glob("*/rootfs"), *places.namespaces.iterdir()):
        kernel.unmount(mountpoint)
    shutil.rmtree(home)


@pytest.fixture
def store(places: Places) -> ImageStore:
    return ImageStore(places, LinuxKernel())


def load(store: ImageStore, data: bytes, scope: str = SCOPE) -> Image:
    imported = images.import_archive(store, io.BytesIO(data), scope=scope)
    return images.get(store, scope, imported.image_id)


def unpacked(places: Places, entries: list[E], **more: object) -> Path:
    """The directory of a layer that was unpacked from ``entries``."""
    with layers.lease(places):
        layer = layers.unpack(places, io.BytesIO(tar(entries)), **more)  # type: ignore[arg-type]  # by name
    assert layer.directory is not None
    return layer.directory


def nothing_is_left(places: Places) -> bool:
    return not any(
        [*places.layer_ingest.iterdir(), *places.images.iterdir(), *(places.layers / "sha256").iterdir()]
    )


@dataclass
class Mounted:
    """A snapshot, and how its container would see it."""

    rootfs: Path
    upper: Path
    userns: Path

    def sh(self, script: str, user: int = 0) -> str:
        """Run ``script`` in the container's user namespace, as ``user`` of it, at its rootfs."""
        command = [
            "nsenter",
            f"--user={self.userns}",
            f"--setuid={user}",
            f"--setgid={user}",
            "sh",
            "-c",
            script,
        ]
        done = subprocess.run(command, cwd=self.rootfs, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip()


def mount(store: ImageStore, image: Image, kernel: LinuxKernel | None = None) -> Mounted:
    kernel, places = kernel or LinuxKernel(), store.places
    userns = identity.ensure_userns(kernel, places, BASE, 65536)
    rootfs = snapshots.mount(kernel, places, CONTAINER, image.layers, userns, BASE)
    return Mounted(rootfs, places.snapshot(CONTAINER) / "rw" / "upper", userns)


# --------------------------------------------------------------------------- snapshots

WEB = [
    E("bin/tool", b"tool", mode=0o755),
    E("etc/conf", b"from the layer"),
    E("home/user/file", b"x", uid=1000, gid=1000),
    E("etc/shadow", b"secret", mode=0o600),
]


@pytest.mark.parametrize("detached", [True, False], ids=["by descriptors", "as older kernels need it"])
def test_a_container_writes_with_its_own_ids_and_the_disk_keeps_the_layers_ids(
    store: ImageStore, detached: bool
) -> None:
    kernel = LinuxKernel(detached=detached)
    mounted = mount(store, load(store, archives.docker_save([tar(WEB)])), kernel)
    assert mounted.sh("stat -c %u:%g bin/tool home/user/file") == "0:0\n1000:1000"
    assert os.stat(mounted.rootfs / "bin/tool").st_uid == BASE
    assert (
        mounted.sh("echo new > new; echo more >> etc/conf; chown 33:34 new; rm bin/tool; cat etc/shadow")
        == "secret"
    )
    assert mounted.sh("echo mine >> home/user/file; id -u", user=1000) == "1000"
    on_disk = mounted.upper
    assert (on_disk / "new").stat().st_uid == 33
    assert (on_disk / "etc/conf").read_text() == "from the layermore\n"
    assert (on_disk / "home/user/file").stat().st_uid == 1000
    assert stat.S_ISCHR((on_disk / "bin/tool").stat().st_mode)
    assert "Permission denied" in mounted.sh("cat etc/shadow", user=1000)


def test_what_was_written_survives_unmounting_and_goes_with_the_snapshot(store: ImageStore) -> None:
    image = load(store, archives.docker_save([tar(WEB)]))
    kernel, places = LinuxKernel(), store.places
    mount(store, image).sh("echo kept > kept")
    for _ in range(2):
        snapshots.unmount(kernel, places, CONTAINER)
    assert not kernel.is_mounted(places.rootfs(CONTAINER))
    assert mount(store, image).sh("cat kept") == "kept"
    for _ in range(2):
        snapshots.remove(kernel, places, CONTAINER)
    assert list(places.snapshots.iterdir()) == []
    assert not kernel.is_mounted(places.rootfs(CONTAINER))


def test_layers_hide_replace_and_merge(store: ImageStore) -> None:
    bottom = [
        E("keep", b"1"),
        E("gone", b"1"),
        E("dir/old", b"1"),
        E("opaque/old", b"1"),
        E("swap/old", b"1"),
    ]
    top = [
        E(".wh.gone"),
        E("dir/new", b"2"),
        E("opaque/.wh..wh..opq"),
        E("opaque/new", b"2"),
        E(".wh.swap"),
        E("swap/", kind=archives.DIRECTORY, mode=0o755),
        E("swap/new", b"2"),
    ]
    mounted = mount(store, load(store, archives.docker_save([tar(bottom), tar(top)])))
    assert mounted.sh("ls -d *") == "dir\nkeep\nopaque\nswap"
    assert mounted.sh("ls dir opaque swap | tr '\\n' ' '") == "dir: new old  opaque: new  swap: new"


def test_a_root_marked_opaque_hides_every_layer_below(store: ImageStore) -> None:
    archive = archives.docker_save([tar([E("old")]), tar([E(".wh..wh..opq"), E("new")])])
    assert mount(store, load(store, archive)).sh("ls") == "new"


def test_a_layer_that_occurs_twice_counts_from_its_topmost_place(store: ImageStore) -> None:
    a, b = tar([E("file", b"a")]), tar([E("file", b"b")])
    assert mount(store, load(store, archives.docker_save([a, b, a]))).sh("cat file") == "a"


def test_no_device_works_on_a_rootfs_and_setuid_reaches_only_the_projects_ids(store: ImageStore) -> None:
    entries = [E("su", b"#!", mode=0o4755)]
    mounted = mount(store, load(store, archives.docker_save([tar(entries)])))
    line = next(
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(mounted.rootfs) in line
    )
    assert "nodev" in line.split()[3].split(",")
    seen = os.stat(mounted.rootfs / "su")
    assert (seen.st_mode & stat.S_ISUID, seen.st_uid) == (stat.S_ISUID, BASE)


def test_a_setuid_file_in_a_layer_is_out_of_reach_of_the_nodes_users(store: ImageStore) -> None:
    image = load(store, archives.docker_save([tar([E("su", b"#!", mode=0o4755)])]))
    path = store.places.layer(image.layers[0].diff_id) / "su"
    assert path.stat().st_mode & stat.S_ISUID
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", str(path)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_file_capabilities_hold_in_any_range(store: ImageStore) -> None:
    foreign = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 424242)
    entries = [E("v2", mode=0o755, xattrs={"security.capability": CAP_NET_RAW}),
               E("v3", mode=0o755, uid=5, xattrs={"security.capability": foreign})]  # fmt: skip
    image = load(store, archives.docker_save([tar(entries)]))
    layer = store.places.layer(image.layers[0].diff_id)
    assert os.getxattr(layer / "v2", "security.capability") == CAP_NET_RAW
    assert os.getxattr(layer / "v3", "security.capability") == CAP_NET_RAW
    # Seen from the node, they hold in user namespaces whose root is the first id of the range only.
    seen = os.getxattr(mount(store, image).rootfs / "v3", "security.capability")
    assert struct.unpack("<6I", seen) == (0x03000001, 1 << 13, 0, 0, 0, BASE)


def test_a_failed_overlay_says_why_and_mounts_nothing(store: ImageStore) -> None:
    image = load(store, archives.docker_save([tar(WEB)]))
    kernel, places = LinuxKernel(), store.places
    userns = identity.ensure_userns(kernel, places, BASE, 65536)
    snapshots.prepare(places, CONTAINER, image.layers)
    (places.snapshot(CONTAINER) / "rw" / "work").mkdir()
    rootfs = places.rootfs(CONTAINER)
    rootfs.mkdir(parents=True)
    bad = snapshots.overlay(
        [places.layer(image.layers[0].diff_id)], places.snapshot(CONTAINER) / "rw", userns, 7
    )
    with pytest.raises(NodeError, match=r"read-only.*by id 7"):
        kernel.mount_overlay(bad, rootfs)
    assert not kernel.is_mounted(rootfs)


def test_namespaces_are_made_once_by_many_threads_and_map_the_range(places: Places) -> None:
    kernel, results = LinuxKernel(), []
    threads = [
        threading.Thread(target=lambda: results.append(identity.ensure_userns(kernel, places, BASE, 65536)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({os.stat(path).st_ino for path in results}) == 1
    done = subprocess.run(
        ["nsenter", f"--user={results[0]}", "cat", "/proc/self/uid_map"], capture_output=True
    )
    assert done.stdout.split() == [b"0", str(BASE).encode(), b"65536"]
    assert Path("/proc/mounts").read_text().count(str(results[0])) == 1


def test_a_filesystem_of_its_own_is_mounted_with_its_attributes(places: Places) -> None:
    kernel, target = LinuxKernel(), places.bundles / "scratch" / "rootfs"
    target.mkdir(parents=True)
    kernel.mount(Mount("tmpfs", "scratch", (("size", "64k"), ("mode", "0700"))), target)
    assert kernel.is_mounted(target)
    flags = os.statvfs(target).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV
    kernel.unmount(target)
    kernel.unmount(target)
    assert not kernel.is_mounted(target)


# --------------------------------------------------------------------------- extracting


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
    imported = images.import_archive(store, io.BytesIO(data), scope=SCOPE)
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


# --------------------------------------------------------------------------- importing

LAYER = tar([E("bin/sh", b"sh", mode=0o755)])
ROOTFS = tar([E("./", kind=archives.DIRECTORY, mode=0o700), E("./bin/sh", b"sh", mode=0o755)])


def compress(data: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(data)
    return zstandard.compress(data) if how == "zstd" else data


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("data", [archives.docker_save([LAYER]), archives.oci_image([LAYER]), ROOTFS],
                         ids=["docker save", "oci", "rootfs"])  # fmt: skip
def test_every_kind_of_archive_comes_in_compressed_or_not(store: ImageStore, data: bytes, how: str) -> None:
    imported = images.import_archive(store, io.BytesIO(compress(data, how)), scope=SCOPE, references=["web"])
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
    imported = images.import_archive(
        store, io.BytesIO(ROOTFS), scope=SCOPE, references=["base:1"], changes=['CMD ["sh"]', "ENV A=1"]
    )
    config = images.get(store, SCOPE, imported.image_id).config
    assert (config.command, config.env, len(config.history)) == (("sh",), ("A=1",), 1)


def test_changes_to_an_image_with_a_config_of_its_own_are_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidArchive, match="config of its own"):
        images.import_archive(
            store, io.BytesIO(archives.docker_save([LAYER])), scope=SCOPE, changes=["USER www"]
        )


def test_progress_is_told_in_bytes(store: ImageStore) -> None:
    seen: list[tuple[str, int, int]] = []
    data = archives.docker_save([LAYER, tar([E("b")])])
    images.import_archive(
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


def nothing_is_left_but_scopes(places: Places) -> bool:
    return not any(
        [*places.layer_ingest.iterdir(), *(places.layers / "sha256").iterdir(), *places.images.glob("*/*")]
    )


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


# --------------------------------------------------------------------------- recipes


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox-static")
def test_the_busybox_recipe_makes_an_image_that_runs(store: ImageStore) -> None:
    seen: list[str] = []
    with tempfile.TemporaryFile() as file:
        recipes.bake("busybox", file, lambda line, done, total: seen.append(line))
        file.seek(0)
        imported = images.import_archive(store, file, scope=SCOPE, references=["busybox"])
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
