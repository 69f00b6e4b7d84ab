"""Jobs on images: import, bake, remove, pull, push."""

from __future__ import annotations

from workers.engine import images, importing
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.errors import NoSuchBlob
from workers.messages import (
    BakeImage,
    ImageRemoved,
    ImportImage,
    PullImage,
    PushImage,
    RemoveImage,
)
from workers.node import Node
from workers.oci.digest import Digest
from workers.tasks import transfers
from workers.tasks.baking import bake
from workers.tasks.jobfiles import JobCommand
from workers.tasks.jobs import Check
from workers.tasks.reporting import Reporter, tell


def perform(node: Node, command: JobCommand, emit: Emit, check: Check, log: LogWriter) -> None:
    match command:
        case ImportImage():
            _import(node, command, emit, Reporter(command.job, emit, check, log))
        case BakeImage():
            bake(node, command, emit, check, log)
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
        found = importing.import_images(
            node.engine.images,
            archive,
            scope=command.scope,
            references=references,
            changes=command.changes,
            progress=report,
        )
        for imported in found:  # each is told as soon as it is there: a later one may be broken
            tell(command, imported, emit, report)
