"""An archive on its way in: from the request's body to the node's agent, a chunk at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message

from slipway.bodies import Body
from slipway.errors import FieldError, InvalidFields, UnsupportedMediaType
from slipway.jobs.models import ACTIVE, Job, JobKind
from slipway.multipart import Form, parse_boundary, read_form
from slipway.nodes import agent
from slipway.nodes.models import Node
from workers.errors import InvalidArchive, SlipwayError

ARCHIVE_TYPES = frozenset(
    {
        "application/x-tar",
        "application/tar",
        "application/gzip",
        "application/x-gzip",
        "application/zstd",
        "application/x-zstd",
        "application/octet-stream",
    }
)
PART = "archive"
FIELDS = ("name", "tag", "change")
FRAME = 64 << 10
"""More than a form's other parts take."""


@dataclass(frozen=True)
class Archive:
    """The bytes to come, and the fields a form gave before them."""

    chunks: AsyncIterator[bytes]
    fields: dict[str, list[str]]
    in_form: bool = False

    def at_least(self, length: int | None) -> int:
        """Of its bytes, when the body has ``length``; 0 if nobody says."""
        return max(0, (length or 0) - (FRAME if self.in_form else 0))


async def open_archive(body: Body) -> Archive:
    """Raise ``UnsupportedMediaType``, ``MalformedBody`` or ``InvalidFields``."""
    kind = _media_type(body.content_type)
    if kind == "multipart/form-data":
        form: Form = await read_form(body.chunks(), parse_boundary(body.content_type), PART)
        unknown = sorted(form.fields.keys() - set(FIELDS))
        if unknown:
            known = ", ".join((*FIELDS, PART))
            raise InvalidFields(
                [FieldError(name, f"No such field. Known here: {known}.") for name in unknown]
            )
        return Archive(form.archive, form.fields, in_form=True)
    if kind not in ARCHIVE_TYPES:
        raise UnsupportedMediaType(
            f"Content-Type {kind or 'missing'}: send application/x-tar (plain, gzip or zstd), or "
            f"multipart/form-data with the part {PART!r}.",
            media_type=kind,
        )
    return Archive(body.chunks(), {})


def _media_type(header: str) -> str:
    message = Message()
    message["content-type"] = header or "none/none"
    kind = message.get_content_type()
    return "" if kind == "none/none" else kind


async def hand_over(archive: Archive, node: Node) -> agent.Upload:
    """Stream ``archive`` to the node's agent; nothing is kept here.

    Raise what the body's reader raises (``ClientGone``, ``MalformedBody``), ``InvalidArchive`` for an empty
    one, and what the agent says (``NoSpace`` …).
    """
    fault: list[BaseException] = []

    async def guarded() -> AsyncIterator[bytes]:
        try:
            async for chunk in archive.chunks:
                yield chunk
        except SlipwayError as error:
            # The HTTP client reports any failure in here as a broken connection; the cause is ours to tell.
            fault.append(error)
            raise

    try:
        upload = await agent.upload(node, guarded())
    except SlipwayError as error:
        raise (fault[0] if fault else error) from error
    if upload.size == 0:
        await agent.drop_upload(node, upload.digest)
        raise InvalidArchive("Body: the archive is empty. curl needs --data-binary @file, or -T file.")
    return upload


async def drop_unwanted(node: Node, digest: str) -> None:
    """Let the archive go, unless an import of the same bytes waits for it."""
    waiting = Job.objects.filter(
        kind=JobKind.IMPORT_IMAGE, node=node, state__in=ACTIVE, command__contains=digest
    )
    if not await waiting.aexists():
        await agent.drop_upload(node, digest)
