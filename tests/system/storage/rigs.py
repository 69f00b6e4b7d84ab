"""Archives, scopes and mounts that the tests of storage share."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tests import archives
from tests.archives import E, tar
from workers.engine import identity, images, importing, layers, snapshots
from workers.engine.images import Image, ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places

Maker = Callable[[list[bytes]], bytes]

SCOPE, OTHER = "a" * 32, "b" * 32
CONTAINER = "c" * 64
BASE = 3_000_000 + os.getpid() % 1000 * 65536
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)

LAYER = tar([E("bin/sh", b"sh", mode=0o755)])
ROOTFS = tar([E("./", kind=archives.DIRECTORY, mode=0o700), E("./bin/sh", b"sh", mode=0o755)])


def load(store: ImageStore, data: bytes, scope: str = SCOPE) -> Image:
    imported = importing.import_archive(store, io.BytesIO(data), scope=scope)
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


def compress(data: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(data)
    return zstandard.compress(data) if how == "zstd" else data


def nothing_is_left_but_scopes(places: Places) -> bool:
    return not any(
        [*places.layer_ingest.iterdir(), *(places.layers / "sha256").iterdir(), *places.images.glob("*/*")]
    )
