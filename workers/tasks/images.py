"""Jobs on images: import, bake, remove, pull, push."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

from workers.engine import images, importing, recipes
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.errors import NoSuchBlob
from workers.messages import (
    BakeImage,
    ImageImported,
    ImageRemoved,
    ImportImage,
    JobProgressed,
    PullImage,
    PushImage,
    RemoveImage,
)
from workers.node import Node
from workers.oci.digest import Digest
from workers.tasks import transfers
from workers.tasks.jobs import Check, JobCommand, Work
from workers.tasks.reporting import Reporter


def work(node: Node) -> Work:
    return Work(
        perform=lambda command, emit, check, log: perform(node, command, emit, check, log),
        tidy=lambda command: tidy(node, command),
    )


def perform(node: Node, command: JobCommand, emit: Emit, check: Check, log: LogWriter) -> None:
    match command:
        case ImportImage():
            _import(node, command, emit, Reporter(command.job, emit, check, log))
        case BakeImage():
            _bake(node, command, emit, Reporter(command.job, emit, check, log))
        case RemoveImage():
            images.withdraw(node.engine.images, command.scope, command.image_id)
            emit(ImageRemoved(command.job, command.scope, command.image_id))
        case PullImage():
            transfers.pull(node, command, emit, Reporter(command.job, emit, check, log))
        case PushImage():
            transfers.push(node, command, emit, Reporter(command.job, emit, check, log))


def tidy(node: Node, command: JobCommand) -> None:
    """The upload was made for this import alone."""
    if isinstance(command, ImportImage):
        node.uploads.release(Digest.parse(command.upload))


def _import(node: Node, command: ImportImage, emit: Emit, report: Reporter) -> None:
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
        _take_in(node, archive, command, references, command.changes, emit, report)


def _bake(node: Node, command: BakeImage, emit: Emit, report: Reporter) -> None:
    # Without a name, so that nothing is left of it whoever dies.
    with tempfile.TemporaryFile(dir=node.places.content) as archive:
        recipes.bake(command.recipe, archive, report)
        archive.seek(0)
        references = (f"{command.repository}:{command.tag}",)
        _take_in(node, archive, command, references, (), emit, report)


def _take_in(
    node: Node,
    archive: BinaryIO,
    command: ImportImage | BakeImage,
    references: tuple[str, ...],
    changes: tuple[str, ...],
    emit: Emit,
    report: Reporter,
) -> None:
    job, scope = command.job, command.scope
    imported = importing.import_archive(
        node.engine.images,
        archive,
        scope=scope,
        references=references,
        changes=changes,
        progress=report,
    )
    for warning in imported.warnings:
        emit(JobProgressed(job, warning))
        report.log.write(warning, "stderr")
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
