"""Images of a node: which scope (a project, the library) may use which stack of layers.

A *grant* is the only thing that gives a scope a layer, and only an import writes one: after every
byte of every layer went through here for that scope. ``diff_ids`` in a config give nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from workers import crash
from workers.content import sync_directory, write_durably
from workers.engine import archives, layouts, snapshots
from workers.engine import layers as layer_store
from workers.engine.archives import Files
from workers.engine.kernel import Kernel
from workers.engine.layers import ArchiveLimits, Unpacked
from workers.engine.places import Places
from workers.engine.trees import remove_tree
from workers.errors import InvalidArchive, NodeError, NoSuchImage
from workers.messages import LayerFacts
from workers.oci.changes import apply_changes
from workers.oci.config import ImageConfig, parse_config
from workers.oci.descriptor import OCI_CONFIG, OCI_LAYER, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import compose
from workers.oci.reference import Reference

Progress = Callable[[str, int, int], None]
"""One short line for people, bytes done, bytes in all (0 where unknown)."""

_REPORT_EVERY = 0.5


@dataclass(frozen=True)
class ImageStore:
    places: Places
    kernel: Kernel
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)


@dataclass(frozen=True)
class Image:
    image_id: str
    manifest_digest: str
    manifest: str
    """The exact text, as a registry would serve it."""
    config_text: str
    config: ImageConfig
    layers: tuple[LayerFacts, ...]
    """Bottom first."""


@dataclass(frozen=True)
class Imported:
    image_id: str
    manifest_digest: str
    config: str
    """The exact text."""
    layers: tuple[LayerFacts, ...]
    references: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What was left out or may not work, for people."""


@dataclass(frozen=True)
class Swept:
    layers: tuple[str, ...] = ()
    """diffIDs that were (or, in a dry run, would be) removed."""
    rubbish: int = 0
    """Directories left by imports that were cut off."""
    busy: bool = False
    """Nothing was done: layers are being worked with. Try again later."""


def get(store: ImageStore, scope: str, image_id: str) -> Image:
    """Raise ``NoSuchImage`` unless ``scope`` was granted the image."""
    try:
        return _read(store.places.grant(scope, str(Digest.parse(image_id))), image_id)
    except FileNotFoundError:
        raise NoSuchImage(f"No such image: {image_id}", image=image_id, scope=scope) from None


def image_ids(store: ImageStore, scope: str) -> tuple[str, ...]:
    """What ``scope`` was granted."""
    found = store.places.grants(scope).glob("*.json")
    return tuple(sorted(str(json.loads(path.read_bytes())["image_id"]) for path in found))


def import_archive(
    store: ImageStore,
    stream: BinaryIO | Path,
    *,
    scope: str,
    references: Sequence[str] = (),
    changes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Imported:
    """Take an image in for ``scope``; once it returns, the image is durably there. Safe to repeat.

    ``stream`` (which can seek) is an OCI layout or `docker save` archive with one image, or a plain
    root filesystem, each as tar, with gzip or zstd. ``references`` stand in place of the names in the
    archive. ``changes`` are for a root filesystem only. Whatever is raised (``InvalidArchive``,
    ``InvalidManifest``, ``DigestMismatch``, ``NoSpace``, ``InvalidSpec``, ``InvalidReference``) leaves
    nothing behind.
    """
    if isinstance(stream, Path):
        with stream.open("rb") as file:
            return import_archive(
                store, file, scope=scope, references=references, changes=changes, progress=progress
            )
    run = apply_changes(changes)
    asked = [Reference.parse(each).familiar for each in references]
    report = progress or _silent
    with (
        layer_store.lease(store.places),
        archives.opened(stream, store.places.layer_ingest, store.limits.unpacked_bytes) as files,
    ):
        if files is None:
            return _import_rootfs(store, stream, scope, asked, run, report)
        if changes:
            raise InvalidArchive(
                "Changes are for a plain root filesystem; this image has a config of its own"
            )
        return _import_image(store, files, scope, asked, report)


def grant(store: ImageStore, scope: str, image: Image) -> None:
    """Durable on return; repeatable. The caller holds a lease and has kept every layer."""
    path = store.places.grant(scope, image.image_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    body = {
        "image_id": image.image_id,
        "manifest_digest": image.manifest_digest,
        "manifest": image.manifest,
        "config": image.config_text,
        "layers": [asdict(layer) for layer in image.layers],
    }
    write_durably(path, json.dumps(body).encode())


def withdraw(store: ImageStore, scope: str, image_id: str) -> None:
    """``scope`` has the image no longer; containers made from it keep its layers. Repeatable.

    ``sweep`` frees the disk.
    """
    path = store.places.grant(scope, str(Digest.parse(image_id)))
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_directory(path.parent)


def sweep(store: ImageStore, *, dry_run: bool = False) -> Swept:
    """Remove the layers that neither a grant nor a snapshot names, and what broken-off imports left.

    Does nothing while somebody works with layers; names are taken away before anything is removed,
    so a layer that has its name is whole.
    """
    places = store.places
    with layer_store.sweeping(places) as alone:
        if not alone:
            return Swept(busy=True)
        doomed = sorted(_present(places) - _used(places))
        rubbish = list(places.layer_ingest.iterdir())
        if dry_run:
            return Swept(tuple(doomed), len(rubbish))
        nameless = [_nameless(places, places.layer(diff_id)) for diff_id in doomed]
        # Those of layers that are gone, just now or by a sweep that was cut off here.
        idle = sorted(_named(places.all_layer_notes) - _present(places))
        nameless += [_nameless(places, places.layer_notes(diff_id)) for diff_id in idle]
    for directory in (*rubbish, *nameless):  # slow, and nobody needs to wait for it
        remove_tree(directory)
    return Swept(tuple(doomed), len(rubbish))


def _nameless(places: Places, directory: Path) -> Path:
    aside = places.layer_ingest / secrets.token_hex(16)
    directory.rename(aside)
    return aside


def _present(places: Places) -> set[str]:
    return _named(places.layers)


def _named(parent: Path) -> set[str]:
    return {
        f"{algorithm}:{directory.name}"
        for algorithm in ("sha256", "sha512")
        if (parent / algorithm).is_dir()
        for directory in (parent / algorithm).iterdir()
    }


def _used(places: Places) -> set[str]:
    used: set[str] = set()
    for path in places.images.glob("*/*.json"):
        used.update(layer.diff_id for layer in _read(path, path.stem).layers)
    for directory in places.snapshots.iterdir():
        # A note torn by a power cut spares nothing: its container cannot run before it is written anew,
        # and that needs the grant.
        used.update(snapshots.noted(places, directory.name) or ())
    return used


def _read(path: Path, image_id: str) -> Image:
    data = path.read_bytes()
    try:
        body = json.loads(data)
        return Image(
            str(body["image_id"]),
            str(body["manifest_digest"]),
            str(body["manifest"]),
            str(body["config"]),
            parse_config(body["config"]),
            tuple(LayerFacts(**layer) for layer in body["layers"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"The grant {path} is damaged; import the image {image_id} again", path=str(path)
        ) from error


# --------------------------------------------------------------------------- importing


def _import_image(
    store: ImageStore, files: Files, scope: str, references: list[str], report: Progress
) -> Imported:
    host = layouts.host_platform()
    source = layouts.read_image(files, host)
    names = references or [Reference.parse(name).familiar for name in source.names]
    total = sum(layer.part.size for layer in source.layers)
    unpacked: list[Unpacked] = []
    with _discarding(unpacked):
        done = 0
        left = store.limits.unpacked_bytes  # of all layers together: a small archive can name one many times
        for position, (layer, claimed) in enumerate(zip(source.layers, source.config.diff_ids, strict=True)):
            line = f"Unpacking layer {position + 1} of {len(source.layers)}"
            section = cast(BinaryIO, files.section(layer.part))
            unpacked.append(
                layer_store.unpack(
                    store.places,
                    section,
                    expected=layer.expected,
                    claimed=claimed,
                    limits=replace(store.limits, unpacked_bytes=left),
                    seen=_paced(report, line, done, total),
                )
            )
            done += layer.part.size
            left -= unpacked[-1].facts.unpacked_size
        facts = tuple(each.facts for each in unpacked)
        manifest = source.manifest or _composed(source.config_text, source.image_id, unpacked)
        image = _image(source.image_id, manifest, source.config_text, facts)
        report("Writing to disk", total, total)
        _keep(store, scope, image, unpacked)
    warnings = _left_out(unpacked)
    if source.config.platform.architecture != host.architecture:
        warnings += (f"The image is for {source.config.platform}, this node is {host}: it may not start",)
    return _imported(image, names, warnings)


def _import_rootfs(
    store: ImageStore,
    stream: BinaryIO,
    scope: str,
    references: list[str],
    run: dict[str, object],
    report: Progress,
) -> Imported:
    stream.seek(0, 2)
    total = stream.tell()
    stream.seek(0)
    unpacked: list[Unpacked] = []
    with _discarding(unpacked):
        layer = layer_store.unpack(
            store.places,
            stream,
            limits=store.limits,
            strict=True,
            seen=_paced(report, "Unpacking the root filesystem", 0, total),
        )
        unpacked.append(layer)
        host = layouts.host_platform()
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        config = {
            "created": created,
            "architecture": host.architecture,
            "os": host.os,
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [layer.facts.diff_id]},
            "history": [{"created": created, "comment": "Imported from a root filesystem"}],
        }
        text = json.dumps(config, separators=(",", ":")).encode()
        image_id = Digest.of(text)
        image = _image(image_id, _composed(text, image_id, unpacked), text, (layer.facts,))
        report("Writing to disk", total, total)
        _keep(store, scope, image, unpacked)
    return _imported(image, references, _left_out(unpacked))


def _keep(store: ImageStore, scope: str, image: Image, unpacked: list[Unpacked]) -> None:
    """Bytes before names, names before the grant: after a power cut, what can be named is whole."""
    crash.point("import.before_names")
    store.kernel.sync_filesystem(store.places.layers)
    for layer in unpacked:
        layer_store.keep(store.places, layer)
    crash.point("import.before_grant")
    grant(store, scope, image)
    crash.point("import.after_grant")


@contextmanager
def _discarding(unpacked: list[Unpacked]) -> Iterator[None]:
    try:
        yield
    finally:
        for layer in unpacked:
            layer_store.discard(layer)


def _composed(config: bytes, image_id: Digest, layers: Sequence[Unpacked]) -> bytes:
    """A manifest for an image that came without one."""
    descriptors = []
    for layer in layers:
        media_type = OCI_LAYER + (f"+{layer.compression}" if layer.compression else "")
        descriptors.append(Descriptor(media_type, Digest.parse(layer.facts.digest), layer.facts.size))
    return compose(Descriptor(OCI_CONFIG, image_id, len(config)), descriptors)


def _image(image_id: Digest, manifest: bytes, config: bytes, layers: tuple[LayerFacts, ...]) -> Image:
    digest = str(Digest.of(manifest))
    return Image(str(image_id), digest, manifest.decode(), config.decode(), parse_config(config), layers)


def _imported(image: Image, references: Iterable[str], warnings: tuple[str, ...]) -> Imported:
    names = tuple(dict.fromkeys(references))
    return Imported(image.image_id, image.manifest_digest, image.config_text, image.layers, names, warnings)


def _left_out(unpacked: Iterable[Unpacked]) -> tuple[str, ...]:
    names = [name for layer in unpacked for name in layer.skipped]
    return (f"Device nodes were left out: {', '.join(names[:20])}",) if names else ()


def _paced(report: Progress, line: str, before: int, total: int) -> Callable[[int], None]:
    """Reports go through the journal: two a second are plenty."""
    last = 0.0

    def seen(size: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_EVERY:
            last = now
            report(line, before + size, total)

    return seen


def _silent(line: str, done: int, total: int) -> None:
    """Nobody wants to know."""
