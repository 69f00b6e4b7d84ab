"""The result of a build: an image of the project, or its files as a tar.

Only the layers of the final image are hashed, once; then they are layers of the node, under their diffIDs.
Nothing is compressed: that happens when a layer first leaves the node.
"""

from __future__ import annotations

import io
import json
import stat
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from workers.engine import changesets, images
from workers.engine import layers as layer_store
from workers.engine.build import cacheimages
from workers.engine.build.cache import Entry
from workers.engine.build.contents import kept_attributes
from workers.engine.build.graph import StagePlan
from workers.engine.build.results import Layer, State
from workers.engine.build.solver import Task
from workers.engine.build.stacks import Node, Stack
from workers.engine.images import Image
from workers.engine.layers import Unpacked
from workers.errors import NodeError
from workers.messages import LayerFacts
from workers.oci.config import parse_config
from workers.oci.descriptor import OCI_CONFIG, OCI_LAYER, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import compose

_LOOK = 0.2
"""Seconds between two looks whether the build was cancelled."""
_OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{OCI_LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{OCI_LAYER}+zstd",
}


@dataclass(frozen=True)
class Finished:
    """A layer of the result, with its facts."""

    facts: LayerFacts
    media_type: str


def image(task: Task, scope: str, report: Callable[[str], None], *, inline: bool = False) -> Image:
    """The result as an image ``scope`` is granted; durable on return. Call under a lease.

    With ``inline`` its config says which steps its layers are of (``cacheimages``).
    """
    stage, state = task.graph.result, task.states[task.graph.target]
    done = finished(task, state.layers, report)
    layers = [_named(layer, done) for layer in state.layers]
    keys = [(position, done[each.entry.key]) for position, each in enumerate(state.layers) if each.entry]
    more = {cacheimages.MEMBER: cacheimages.described(keys)} if inline else {}
    config = _config(task, stage, state, layers, more).encode()
    image_id = Digest.of(config)
    descriptors = [
        Descriptor(layer.media_type, Digest.parse(layer.facts.digest), layer.facts.size) for layer in layers
    ]
    manifest = compose(Descriptor(OCI_CONFIG, image_id, len(config)), descriptors)
    made = Image(
        str(image_id),
        str(Digest.of(manifest)),
        manifest.decode(),
        config.decode(),
        parse_config(config),
        tuple(layer.facts for layer in layers),
    )
    images.grant(task.room.engine.images, scope, made)
    return made


# --------------------------------------------------------------------------- layers


def cached_steps(task: Task, *, all_stages: bool) -> list[Layer]:
    """Layers made here: those of the result, or of every stage."""
    states = task.states.values() if all_stages else [task.states[task.graph.target]]
    found = {layer.entry.key: layer for state in states for layer in state.layers if layer.entry is not None}
    return list(found.values())


def finished(task: Task, layers: Sequence[Layer], report: Callable[[str], None]) -> dict[str, Entry]:
    """Every layer made here so far under its diffID, by the key of its step.

    Bytes before names: after a power cut what has a name is whole.
    """
    made = {layer.entry.key: layer.entry for layer in layers if layer.entry is not None}
    done = task.layers
    done |= {key: entry for key, entry in made.items() if key not in done and _is_finished(task, entry)}
    fresh = {key: entry for key, entry in made.items() if key not in done}
    with ExitStack() as held:
        # Whoever looks these steps up meanwhile waits, and finds them under their new place.
        for key in sorted(fresh):
            held.enter_context(task.cache.working(task.session.project, key, task.check))
        _publish(task, fresh, report)
    return done


def _publish(task: Task, fresh: Mapping[str, Entry], report: Callable[[str], None]) -> None:
    kernel, store = task.room.engine.kernel, task.room.engine.places.layers
    measured: dict[str, Unpacked] = {}
    pool = ThreadPoolExecutor(1)
    try:
        # The disk writes while the layers are hashed; what is left then is little.
        early = pool.submit(kernel.sync_filesystem, store) if fresh else None
        for number, entry in enumerate(fresh.values(), 1):
            task.check()
            report(f"layer {number} of {len(fresh)}")
            measured[entry.key] = changesets.measure(
                task.room.engine.places,
                _own(task, entry),
                mtime_max=task.graph.source_date_epoch,
                check=task.check,
            )
        if early is not None:
            report("writing to the disk")
            _wait(task, early)
            _wait(task, pool.submit(kernel.sync_filesystem, store))
    finally:
        pool.shutdown(wait=False)  # whoever cancels does not wait for the disk
    for key, unpacked in measured.items():
        layer_store.keep(task.room.engine.places, unpacked)
        entry = fresh[key]
        if entry.layer is None:
            task.layers[key] = task.cache.became_layer(task.session, entry, unpacked.facts)
        else:
            task.layers[key] = replace(entry, layer=unpacked.facts)


def _wait(task: Task, done: Future[None]) -> None:
    while True:
        try:
            return done.result(_LOOK)
        except TimeoutError:
            task.check()


def _is_finished(task: Task, entry: Entry) -> bool:
    """It is a layer, and no time in it is later than this build wants."""
    epoch = task.graph.source_date_epoch
    if entry.layer is None or epoch is None:
        return entry.layer is not None
    notes = task.room.engine.places.layer_notes(entry.layer.diff_id) / changesets.CANONICAL
    try:
        return bool(json.loads(notes.read_text())["mtime_max"] == epoch)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return True  # it came from elsewhere, as it is


def _own(task: Task, entry: Entry) -> Path:
    """The snapshot to be renamed; a copy, of links, of what another build reads or is a layer already."""
    path = task.cache.path(task.session.project, entry)
    if entry.layer is None and not task.cache.shared(task.session, entry.key):
        return path
    aside = task.room.new_directory("shared") / "layer"
    command = ["cp", "--archive", "--link", "--", str(path), str(aside)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeError(f"A layer could not be copied: {done.stderr.strip()[-300:]}", path=str(path))
    return aside


def _named(layer: Layer, done: Mapping[str, Entry]) -> Finished:
    if layer.entry is None:
        assert layer.facts is not None  # noqa: S101 - a base's
        return Finished(layer.facts, _OCI_TYPES.get(layer.media_type, layer.media_type))
    facts = done[layer.entry.key].layer
    assert facts is not None  # noqa: S101 - it is finished
    return Finished(facts, OCI_LAYER)


# --------------------------------------------------------------------------- config


def _config(
    task: Task, stage: StagePlan, state: State, layers: list[Finished], more: Mapping[str, Any]
) -> str:
    os_, _, rest = stage.platform.partition("/")
    architecture, _, variant = rest.partition("/")
    epoch = task.graph.source_date_epoch
    times = [_capped(time, epoch) for time in state.times]
    created = max((time for time in times if time), default=None)
    if created is None:
        created = _stamp(float(epoch)) if epoch is not None else "1970-01-01T00:00:00Z"
    body: dict[str, Any] = {
        "architecture": architecture,
        "config": stage.defaults.wire(),
        "created": created,
        "history": [
            _entry(replace(entry, created=time)) for entry, time in zip(stage.history, times, strict=True)
        ],
        "os": os_,
        "rootfs": {"type": "layers", "diff_ids": [layer.facts.diff_id for layer in layers]},
        **more,
    }
    if variant:
        body["variant"] = variant
    if stage.author:
        body["author"] = stage.author
    return json.dumps(body, separators=(",", ":"), sort_keys=True)


def _entry(entry: Any) -> dict[str, Any]:
    body = {
        "created": entry.created,
        "created_by": entry.created_by,
        "author": entry.author,
        "comment": entry.comment,
        "empty_layer": entry.empty_layer,
    }
    return {name: value for name, value in body.items() if value}


def _capped(time: str, epoch: int | None) -> str:
    """RFC 3339; none later than SOURCE_DATE_EPOCH."""
    if epoch is None or not time:
        return time
    try:
        seconds = datetime.fromisoformat(time).timestamp()
    except ValueError:
        return time
    return _stamp(float(epoch)) if seconds > epoch else time


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --------------------------------------------------------------------------- files


def files(task: Task, target: BinaryIO) -> None:
    """The result's root filesystem as one tar, sorted, owners by number."""
    stack = Stack(task.paths(task.states[task.graph.target]))
    epoch = task.graph.source_date_epoch
    links: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        root = stack.root
        if root is None:
            return
        for path, node in stack.walk(root):
            task.check()
            if stat.S_ISSOCK(node.status.st_mode):
                continue
            _add(archive, path, node, links, epoch, task.check)


def _add(
    archive: tarfile.TarFile,
    path: str,
    node: Node,
    links: dict[tuple[int, int], str],
    epoch: int | None,
    check: Callable[[], None],
) -> None:
    member = archive.gettarinfo(node.place, arcname=path)
    member.uname = member.gname = ""
    member.mtime = int(node.status.st_mtime) if epoch is None else min(int(node.status.st_mtime), epoch)
    member.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in kept_attributes(node.place).items()
    }
    member.type, member.linkname = _kind(node, member)
    identity = (node.status.st_dev, node.status.st_ino)
    if node.is_file and node.status.st_nlink > 1 and links.setdefault(identity, path) != path:
        member.type, member.linkname, member.size = tarfile.LNKTYPE, links[identity], 0
    if member.type == tarfile.REGTYPE:
        member.size = node.status.st_size
        with _Interruptible(node.place, check) as file:
            archive.addfile(member, file)
    else:
        archive.addfile(member)


class _Interruptible(io.FileIO):
    """``tarfile`` reads all of a file in one call of ours."""

    def __init__(self, path: str, check: Callable[[], None]) -> None:
        super().__init__(path)
        self._check = check

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        return super().read(-1 if size is None else size)


def _kind(node: Node, member: tarfile.TarInfo) -> tuple[bytes, str]:
    """tarfile links files by inode across all it has seen; here only ``links`` decides."""
    if node.is_file:
        return tarfile.REGTYPE, ""
    return member.type, member.linkname
