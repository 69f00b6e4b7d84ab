"""A container's filesystem: its image's layers below, a writable upper of its own on top.

``prepare`` → ``mount`` → ``unmount`` → ``mount`` … → ``remove``. The upper keeps what the container
wrote over all its runs. A snapshot notes its layers, so that the sweep of layers spares them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from workers.content import full_disk
from workers.engine import layers as layer_store
from workers.engine.kernel import Kernel, Overlay
from workers.engine.places import Places
from workers.engine.trees import remove_tree
from workers.errors import NodeError
from workers.messages import LayerFacts

# An upper must read as a plain layer: a tar can express neither redirects nor files without data.
_OPTIONS = (("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"))
# Without it, every sync inside a container would wait for all that the node writes.
_FLAGS = ("volatile",)


def overlay(lowers: Sequence[Path], writable: Path, userns: Path, uid_base: int) -> Overlay:
    """``lowers`` topmost first. An image may repeat a layer, an overlay must not; nothing is lost:

    whatever a layer adds or hides further down, it does so from its topmost place already.
    """
    return Overlay(tuple(dict.fromkeys(lowers)), writable, userns, uid_base, _OPTIONS, _FLAGS)


def prepare(places: Places, container: str, layers: Sequence[LayerFacts]) -> None:
    """The upper exists and the sweep spares the layers. Repeatable; keeps what was written.

    Raise ``NodeError`` when the node lacks one of the layers, ``NoSpace`` on a full disk.
    """
    home = places.snapshot(container)
    wanted = [layer.diff_id for layer in layers]
    with layer_store.lease(places), full_disk(home):
        for path, mode in ((home, 0o700), (home / "rw", 0o700), (home / "rw" / "upper", 0o755)):
            if not path.exists():
                path.mkdir()
                path.chmod(mode)  # the process's umask must not decide how a container sees its root
        if noted(places, container) != wanted:
            _note(home / "layers.json", wanted)
        for diff_id in wanted:
            if not places.layer(diff_id).is_dir():
                raise NodeError(f"Layer {diff_id} is not on this node; import its image again", layer=diff_id)


def mount(
    kernel: Kernel,
    places: Places,
    container: str,
    layers: Sequence[LayerFacts],
    userns: Path,
    uid_base: int,
) -> Path:
    """The mounted rootfs of ``container``: image below, its own upper on top. Repeatable."""
    rootfs = places.rootfs(container)
    if kernel.is_mounted(rootfs):
        return rootfs
    prepare(places, container, layers)
    writable = places.snapshot(container) / "rw"
    # A volatile overlay leaves a mark in `work` that forbids a second mount: start with a new one.
    remove_tree(writable / "work")
    (writable / "work").mkdir(mode=0o700)
    rootfs.mkdir(mode=0o711, parents=True, exist_ok=True)
    lowers = visible([places.layer(layer.diff_id) for layer in reversed(layers)])
    kernel.mount_overlay(overlay(lowers or [_nothing(writable)], writable, userns, uid_base), rootfs)
    return rootfs


def unmount(kernel: Kernel, places: Places, container: str) -> None:
    """The rootfs is no longer mounted; upper and layers stay. Repeatable."""
    kernel.unmount(places.rootfs(container))


def remove(kernel: Kernel, places: Places, container: str) -> None:
    """Nothing of the snapshot is left. Repeatable, also after it was cut off."""
    unmount(kernel, places, container)
    remove_tree(places.snapshot(container))


def noted(places: Places, container: str) -> list[str] | None:
    """The diffIDs a snapshot stands on, or None when its note is missing or was torn by a power cut."""
    try:
        note = json.loads((places.snapshot(container) / "layers.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return [str(each) for each in note] if isinstance(note, list) else None


def _note(path: Path, diff_ids: list[str]) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(diff_ids))
    aside.replace(path)


def visible(lowers: list[Path]) -> list[Path]:
    """Cut below a layer whose root is opaque: the kernel heeds that mark in every directory but the root."""
    for position, lower in enumerate(lowers):
        if layer_store.is_opaque(lower):
            return lowers[: position + 1]
    return lowers


def _nothing(writable: Path) -> Path:
    """What an image without layers stands on."""
    empty = writable / "nothing"
    os.makedirs(empty, mode=0o700, exist_ok=True)
    return empty
