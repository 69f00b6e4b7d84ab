"""Jobs on images: import, bake, remove."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO

from workers.engine import images, recipes
from workers.engine.host import Emit
from workers.errors import NoSuchBlob
from workers.messages import BakeImage, ImageImported, ImageRemoved, ImportImage, JobProgressed, RemoveImage
from workers.node import Node
from workers.oci.digest import Digest
from workers.tasks.jobs import JobCommand, Work

PROGRESS_EVERY = 0.5
"""Seconds: reports go through the journal, and nobody reads faster."""


def work(node: Node) -> Work:
    return Work(
        perform=lambda command, emit: perform(node, command, emit), tidy=lambda command: tidy(node, command)
    )


def perform(node: Node, command: JobCommand, emit: Emit) -> None:
    match command:
        case ImportImage():
            _import(node, command, emit)
        case BakeImage():
            _bake(node, command, emit)
        case RemoveImage():
            images.withdraw(node.engine.images, command.scope, command.image_id)
            emit(ImageRemoved(command.job, command.scope, command.image_id))


def tidy(node: Node, command: JobCommand) -> None:
    """The upload was made for this import alone."""
    if isinstance(command, ImportImage):
        node.uploads.release(Digest.parse(command.upload))


def _import(node: Node, command: ImportImage, emit: Emit) -> None:
    try:
        archive = node.uploads.content.open(Digest.parse(command.upload))
    except NoSuchBlob as error:
        raise NoSuchBlob(
            "The uploaded archive is no longer on the node: upload it again", digest=command.upload
        ) from error
    references: tuple[str, ...] = ()
    if command.repository is not None:
        references = (f"{command.repository}:{command.tag or 'latest'}",)
    with archive:
        _take_in(node, archive, command.job, command.scope, references, command.changes, emit)


def _bake(node: Node, command: BakeImage, emit: Emit) -> None:
    # Without a name, so that nothing is left of it whoever dies.
    with tempfile.TemporaryFile(dir=node.places.content) as archive:
        recipes.bake(command.recipe, archive, Reporter(command.job, emit))
        archive.seek(0)
        references = (f"{command.repository}:{command.tag}",)
        _take_in(node, archive, command.job, command.scope, references, (), emit)


def _take_in(
    node: Node,
    archive: BinaryIO,
    job: str,
    scope: str,
    references: tuple[str, ...],
    changes: tuple[str, ...],
    emit: Emit,
) -> None:
    imported = images.import_archive(
        node.engine.images,
        archive,
        scope=scope,
        references=references,
        changes=changes,
        progress=Reporter(job, emit),
    )
    for warning in imported.warnings:
        emit(JobProgressed(job, warning))
    emit(
        ImageImported(
            job=job,
            scope=scope,
            image_id=imported.image_id,
            manifest_digest=imported.manifest_digest,
            config=imported.config,
            layers=imported.layers,
            references=imported.references,
        )
    )


class Reporter:
    """``progress`` of the engine as ``JobProgressed``, thinned out."""

    def __init__(self, job: str, emit: Emit, clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._emit, self._clock = job, emit, clock
        self._last = float("-inf")

    def __call__(self, detail: str, done: int = 0, total: int = 0) -> None:
        now = self._clock()
        if now - self._last >= PROGRESS_EVERY:
            self._last = now
            self._emit(JobProgressed(self._job, detail, done, total))
