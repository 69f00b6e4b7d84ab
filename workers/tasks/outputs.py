"""What a build gives out instead of an image: a tar, written once, straight into the node's uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

from workers.content import Writer
from workers.errors import BuildExceeded
from workers.uploads import Uploads


def keep(
    uploads: Uploads, write: Callable[[BinaryIO], None], check: Callable[[], None], most: int | None
) -> str:
    """The digest of what ``write`` wrote; nothing is left of what was ended by ``check`` or is too large.

    Raise ``BuildExceeded``, ``NoSpace``, what ``check`` raises.
    """
    with uploads.content.begin() as writer:
        write(cast(BinaryIO, _Bounded(writer, check, most)))
        return str(uploads.keep(writer))


class _Bounded:
    """All of a file that ``tarfile`` uses to write a stream."""

    def __init__(self, writer: Writer, check: Callable[[], None], most: int | None) -> None:
        self._writer, self._check, self._most = writer, check, most

    def write(self, data: bytes) -> int:
        self._check()
        if self._most is not None and self._writer.size + len(data) > self._most:
            raise BuildExceeded(
                f"The output is larger than the {self._most / 1e6:.1f} MB that the project's disk has left",
                limit="disk",
            )
        self._writer.write(data)
        return len(data)
