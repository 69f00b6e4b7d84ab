"""An image on its way out: from its node to whoever asked, a piece at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from slipway.catalog.models import Image
from slipway.catalog.services import parse_name
from slipway.nodes import agent
from slipway.nodes.models import Node
from workers.errors import SlipwayError

log = structlog.get_logger(__name__)

FORMATS = ("docker", "oci")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")

Source = Callable[[Node, str, str, str, Sequence[str]], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Saving:
    node: Node
    scope: str
    image_id: str
    format: str
    names: tuple[str, ...]
    filename: str

    @classmethod
    def of(cls, image: Image, form: str, names: Sequence[str] = ()) -> Saving:
        """With the names given, else those of the list. Raise ``InvalidReference``."""
        chosen = tuple(parse_name(name, None).familiar for name in names) or tuple(image.names)
        stem = _UNFIT.sub("_", chosen[0]) if chosen else image.short_id
        node = image.project.node
        if node is None:
            raise AssertionError("an image lies on its project's node")
        return cls(node, image.project_id.hex, image.image_id, form, chosen, f"{stem}.tar")


async def open_saving(saving: Saving, source: Source | None = None) -> AsyncIterator[bytes]:
    """The archive's pieces. What is wrong at the beginning is raised here, before any answer was promised.

    Raise ``NoSuchImage``, ``NodeUnreachable`` …; close what is returned.
    """
    read = source or agent.archive
    pieces = read(saving.node, saving.scope, saving.image_id, saving.format, saving.names)
    try:
        first = await anext(pieces, b"")
    except BaseException:
        await pieces.aclose()  # type: ignore[attr-defined]  # an async generator in fact
        raise
    return _with(first, pieces)


async def _with(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What breaks off breaks the answer off, too: the client must not take it for the whole."""
    async with aclosing(pieces):  # type: ignore[type-var]  # an async generator in fact
        yield first
        try:
            async for piece in pieces:
                yield piece
        except SlipwayError as error:
            log.warning("archive_broken_off", error=error.message)
            # As when the client leaves: Django closes all it holds, the server cuts the connection.
            raise asyncio.CancelledError from error
