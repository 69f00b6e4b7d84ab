"""An archive on its way to the server."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Mapping
from typing import IO, Any

from slipway.cli.client import UPLOAD_PIECE, Client
from slipway.cli.errors import CliError, Exit
from slipway.cli.progress import Bar, bar

_MAGIC = {b"\x1f\x8b": "application/gzip", b"\x28\xb5\x2f\xfd": "application/zstd"}


class Counted(io.RawIOBase):
    """``file`` with what has been read of it shown on a bar."""

    def __init__(self, file: IO[bytes], first: bytes, shown: Bar, title: str, total: int) -> None:
        self._file, self._first = file, first
        self._bar, self._title = shown, title
        self._done, self._total = 0, total

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._first or self._file.read(UPLOAD_PIECE if size < 0 else size)
        self._first = b""
        self._done += len(piece)
        self._bar.show(self._title, self._done, self._total)
        return piece


def send(client: Client, path: str, query: Mapping[str, Any], name: str, *, quiet: bool) -> dict[str, Any]:
    """Upload the file ``name``, or stdin for ``-``; the job that imports it."""
    file, size = _open(name)
    title = "stdin" if name == "-" else os.path.basename(name)
    with file, bar(title, quiet=quiet) as shown:
        first = file.read(4)
        if not first:
            raise CliError(f"{name} is empty.", code="ARCHIVE_EMPTY")
        body = Counted(file, first, shown, f"Uploading {title}", size or 0)
        job: dict[str, Any] = client.upload(path, query, body, size, kind_of(first))  # type: ignore[arg-type]  # all that is asked of it is read
        return job


def kind_of(first: bytes) -> str:
    for magic, kind in _MAGIC.items():
        if first.startswith(magic):
            return kind
    return "application/x-tar"


def _open(name: str) -> tuple[IO[bytes], int | None]:
    """The file and its size, where that is known beforehand."""
    if name == "-":
        return sys.stdin.buffer, None
    try:
        file = open(name, "rb")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise CliError(
            f"{name} cannot be read: {(error.strerror or str(error)).lower()}.",
            code="FILE_UNREADABLE",
            exit_code=Exit.NOT_FOUND if missing else Exit.ERROR,
        ) from error
    status = os.fstat(file.fileno())
    return file, status.st_size if stat.S_ISREG(status.st_mode) else None
