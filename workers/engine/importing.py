"""Archives that somebody hands in become images of a scope."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from workers.engine import archives, images, layouts
from workers.engine import layers as layer_store
from workers.engine.archives import Files
from workers.engine.images import Image, ImageStore
from workers.engine.layers import Budget, Unpacked
from workers.engine.layouts import ImageFiles
from workers.errors import InvalidArchive
from workers.messages import LayerFacts
from workers.oci.changes import apply_changes
from workers.oci.descriptor import OCI_CONFIG, OCI_LAYER, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import compose
from workers.oci.reference import Reference

Progress = Callable[[str, int, int], None]
"""One short line for people, bytes done, bytes in all (0 where unknown)."""

_REPORT_EVERY = 0.5


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


def import_archive(
    store: ImageStore,
    stream: BinaryIO | Path,
    *,
    scope: str,
    references: Sequence[str] = (),
    changes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Imported:
    """``import_images`` for whoever has an archive of one image; the first of several."""
    if isinstance(stream, Path):
        with stream.open("rb") as file:
            return import_archive(
                store, file, scope=scope, references=references, changes=changes, progress=progress
            )
    first, *_ = import_images(
        store, stream, scope=scope, references=references, changes=changes, progress=progress
    )
    return first


def import_images(
    store: ImageStore,
    stream: BinaryIO,
    *,
    scope: str,
    references: Sequence[str] = (),
    changes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[Imported]:
    """Take the images of an archive in for ``scope``; each that comes out is durably there. Safe to repeat.

    ``stream`` (which can seek) is an OCI layout or `docker save` archive, or a plain root filesystem, each as
    tar, with gzip or zstd. ``references`` stand in place of the names in the archive, of one image only.
    ``changes`` are for a root filesystem only. Whatever is raised (``InvalidArchive``,
    ``InvalidManifest``, ``DigestMismatch``, ``NoSpace``, ``InvalidSpec``, ``InvalidReference``) leaves
    nothing behind but the images that came out before.
    """
    run = apply_changes(changes)
    asked = [Reference.parse(each).familiar for each in references]
    report = progress or _silent
    with (
        layer_store.lease(store.places, progress),
        archives.opened(stream, store.places.layer_ingest, store.limits.unpacked_bytes) as files,
    ):
        if files is None:
            yield _import_rootfs(store, stream, scope, asked, run, report)
            return
        if changes:
            raise InvalidArchive(
                "Changes are for a plain root filesystem; this image has a config of its own"
            )
        sources = layouts.read_images(files, layouts.host_platform())
        _require_own_names(asked, sources)
        for number, source in enumerate(sources, 1):
            of = f" of image {number} of {len(sources)}" if len(sources) > 1 else ""
            yield _import_image(store, files, source, scope, asked, of, report)


def _require_own_names(asked: Sequence[str], sources: Sequence[ImageFiles]) -> None:
    if asked and len(sources) > 1:
        names = ", ".join(name for source in sources for name in source.names)
        raise InvalidArchive(
            f"The archive holds {len(sources)} images ({names[:300]!r}): they keep their own names, "
            "so import it without one"
        )


def _import_image(
    store: ImageStore,
    files: Files,
    source: ImageFiles,
    scope: str,
    references: list[str],
    which: str,
    report: Progress,
) -> Imported:
    names = references or [Reference.parse(name).familiar for name in source.names]
    total = sum(layer.part.size for layer in source.layers)
    unpacked: list[Unpacked] = []
    with images.discarding(unpacked):
        done = 0
        budget = Budget(store.limits.unpacked_bytes)
        for position, (layer, claimed) in enumerate(zip(source.layers, source.config.diff_ids, strict=True)):
            line = f"Unpacking layer {position + 1} of {len(source.layers)}{which}"
            section = cast(BinaryIO, files.section(layer.part))
            unpacked.append(
                layer_store.unpack(
                    store.places,
                    section,
                    expected=layer.expected,
                    claimed=claimed,
                    limits=store.limits,
                    budget=budget,
                    seen=_paced(report, line, done, total),
                )
            )
            done += layer.part.size
        report("Writing to disk", total, total)
        image = _keep(store, scope, source, unpacked)
    return _imported(image, names, _left_out(unpacked) + _foreign(source))


def _keep(store: ImageStore, scope: str, source: ImageFiles, unpacked: list[Unpacked]) -> Image:
    facts = tuple(each.facts for each in unpacked)
    manifest = source.manifest or _composed(source.config_text, source.image_id, unpacked)
    image = images.image_of(source.image_id, manifest, source.config_text, facts)
    images.keep(store, [scope], image, unpacked)
    return image


def _foreign(source: ImageFiles) -> tuple[str, ...]:
    host, platform = layouts.host_platform(), source.config.platform
    if platform.architecture == host.architecture:
        return ()
    return (f"The image is for {platform}, this node is {host}: it may not start",)


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
    with images.discarding(unpacked):
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
        image = images.image_of(image_id, _composed(text, image_id, unpacked), text, (layer.facts,))
        report("Writing to disk", total, total)
        images.keep(store, [scope], image, unpacked)
    return _imported(image, references, _left_out(unpacked))


def _composed(config: bytes, image_id: Digest, layers: Sequence[Unpacked]) -> bytes:
    """A manifest for an image that came without one."""
    descriptors = []
    for layer in layers:
        media_type = OCI_LAYER + (f"+{layer.compression}" if layer.compression else "")
        descriptors.append(Descriptor(media_type, Digest.parse(layer.facts.digest), layer.facts.size))
    return compose(Descriptor(OCI_CONFIG, image_id, len(config)), descriptors)


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
