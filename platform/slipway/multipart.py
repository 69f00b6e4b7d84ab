"""``multipart/form-data`` read as it comes: small fields first, then one part whose bytes pass through."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message

from slipway.errors import MalformedBody

FIELD_CAP = 64 << 10
HEADERS_CAP = 16 << 10
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True)
class Form:
    """The fields before ``archive``, and the archive's bytes, to be read once."""

    fields: dict[str, list[str]]
    archive: AsyncIterator[bytes]


def parse_boundary(content_type: str) -> bytes:
    """Raise ``MalformedBody`` without one."""
    message = Message()
    message["content-type"] = content_type
    boundary = str(message.get_param("boundary") or "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedBody("Content-Type: multipart/form-data needs a boundary of 1 to 70 characters.")
    return boundary.encode("ascii")


async def read_form(chunks: AsyncIterator[bytes], boundary: bytes, archive: str) -> Form:
    """Read up to the part named ``archive``; its bytes are left to the reader of ``Form.archive``.

    Raise ``MalformedBody``: no such part, a field above 64 KiB, a body that breaks off.
    """
    reader = _Reader(chunks, boundary)
    fields: dict[str, list[str]] = {}
    await reader.first()
    while await reader.another():
        headers = await reader.headers()
        name = str(headers.get_param("name", header="content-disposition") or "")
        if name == archive:
            return Form(fields, _last_part(reader, archive))
        fields.setdefault(name, []).append(await _text(reader, name))
    raise MalformedBody(
        f"Body: no part named {archive!r}. Send it last: curl -F tag=… -F {archive}=@image.tar", part=archive
    )


async def _last_part(reader: _Reader, name: str) -> AsyncIterator[bytes]:
    """The part's bytes; raise if another one follows: by then it would come too late to be heeded."""
    async for data in reader.data():
        yield data
    if await reader.another():
        raise MalformedBody(
            f"Body: the part {name!r} must be the last one; put the fields before it.", part=name
        )
    await reader.drain()


async def _text(reader: _Reader, name: str) -> str:
    value = bytearray()
    async for data in reader.data():
        value += data
        if len(value) > FIELD_CAP:
            raise MalformedBody(f"Body: the field {name!r} is larger than {FIELD_CAP >> 10} KiB.", part=name)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"Body: the field {name!r} is not UTF-8.", part=name) from error


class _Reader:
    """A window over the body; never longer than one chunk and one delimiter."""

    def __init__(self, chunks: AsyncIterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very start, without the line break that belongs to the others.
        self._window = bytearray(b"\r\n")

    async def _more(self) -> None:
        async for data in self._chunks:
            self._window += data
            return
        raise MalformedBody("Body: it ends before the last boundary; the upload was cut off.")

    async def first(self) -> None:
        """Skip the preamble."""
        async for _ in self.data():
            pass

    async def another(self) -> bool:
        """After a delimiter: True if a part follows, False at the end of the form."""
        while len(self._window) < 2:
            await self._more()
        ending = bytes(self._window[:2])
        if ending == b"--":
            return False
        if ending != b"\r\n":
            raise MalformedBody("Body: a boundary is not followed by a line break.")
        return True

    async def drain(self) -> None:
        """Skip the epilogue, so that the connection can be used again."""
        async for _ in self._chunks:
            pass

    async def headers(self) -> Message:
        """The part's headers; the window then begins with its data."""
        while (end := self._window.find(b"\r\n\r\n")) < 0:
            if len(self._window) > HEADERS_CAP:
                raise MalformedBody("Body: the headers of a part are larger than 16 KiB.")
            await self._more()
        message = Message()
        for line in bytes(self._window[2:end]).decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip():
                message[name.strip()] = value.strip()
        del self._window[: end + 4]
        return message

    async def data(self) -> AsyncIterator[bytes]:
        """The bytes up to the next delimiter, which is taken away too."""
        while True:
            at = self._window.find(self._delimiter)
            if at >= 0:
                data = bytes(self._window[:at])
                del self._window[: at + len(self._delimiter)]
                if data:
                    yield data
                return
            # What may be the beginning of a delimiter stays until more is known.
            safe = len(self._window) - len(self._delimiter) + 1
            if safe > 0:
                yield bytes(self._window[:safe])
                del self._window[:safe]
            await self._more()
