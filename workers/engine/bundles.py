"""The bundle of one run: what the runtime reads, the files bound into /etc, conmon's own files.

It lies in the run directory, where a container's root (nobody on the node) can walk to its rootfs, and no
other unprivileged user of the node: what tenants keep and run is none of theirs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workers.engine.kernel import Kernel, Mount
from workers.engine.places import Places

_ETC_BYTES = 256 << 10


def make(kernel: Kernel, places: Places, container: str, files: Mapping[str, str], uid_base: int) -> None:
    """A fresh bundle with the files for /etc, which belong to the container's root.

    They lie on a small filesystem of their own: a container may write to them, and must not be
    able to fill the node's run directory.
    """
    bundle = places.bundle(container)
    etc = bundle / "etc"
    for directory in (bundle, etc):
        with suppress(FileExistsError):
            directory.mkdir()
        os.chown(directory, 0, uid_base)  # its root's group: the way in for the project, for nobody else
        directory.chmod(0o710)
    places.exit(container).unlink(missing_ok=True)
    if not kernel.is_mounted(etc):
        options = (("size", str(_ETC_BYTES)), ("mode", "0710"), ("gid", str(uid_base)))
        kernel.mount(Mount("tmpfs", "etc", options), etc)
    for name, text in files.items():
        _write(etc / name, text, 0o644, uid_base)


def write_config(places: Places, container: str, config: Mapping[str, Any]) -> None:
    """``config.json``; only root may read it, it holds the environment."""
    _write(places.config(container), json.dumps(config, separators=(",", ":")), 0o600)


def _write(path: Path, text: str, mode: int, owner: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "wb", buffering=0) as file:
        file.write(text.encode())
        os.fchmod(fd, mode)  # the umask took part in open's
        if owner is not None:
            os.fchown(fd, owner, owner)


def exists(places: Places, container: str) -> bool:
    """Something of a run may still have to be cleaned up."""
    return places.bundle(container).exists()


def remove(kernel: Kernel, places: Places, container: str) -> None:
    """Nothing of the bundle is left; its rootfs must be unmounted. Repeatable."""
    bundle = places.bundle(container)
    kernel.unmount(bundle / "etc")
    places.exit(container).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(bundle)


def containers(places: Places) -> list[str]:
    return sorted(entry.name for entry in os.scandir(places.bundles))
