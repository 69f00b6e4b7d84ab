"""Layers under a writable upper, on the real kernel."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import (
    BASE,
    CAP_NET_RAW,
    CONTAINER,
    load,
    mount,
)
from workers.engine import identity, snapshots
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel, Mount
from workers.engine.places import Places
from workers.errors import NodeError

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
