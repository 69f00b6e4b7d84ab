"""What a build gives out instead of an image: a tar, or files below a directory."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from slipway.cli.client import Client
from slipway.cli.errors import CliError
from slipway.cli.progress import bar

SILENCE = 60.0


def fetch(client: Client, path: str, kind: str, place: str, *, quiet: bool) -> None:
    """Write what the build gave out: ``tar`` to a file (``-``: stdout), ``dir`` below a directory."""
    is_quiet = quiet or place == "-"
    with (
        client.stream(path, {}, accept="application/x-tar", silence=SILENCE) as pieces,
        bar("Receiving", quiet=is_quiet) as shown,
    ):
        source = _counted(pieces, lambda done: shown.show("Receiving", done, 0))
        try:
            if kind == "dir":
                _unpack(source, Path(place))
            else:
                _write(source, place)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise CliError(f"{place} cannot be written: {why}.", code="FILE_UNWRITABLE") from error


def _counted(pieces: Iterator[bytes], tell: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        tell(done)
        yield piece


def _write(source: Iterator[bytes], place: str) -> None:
    if place == "-":
        for piece in source:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with open(place, "wb") as file:
        for piece in source:
            file.write(piece)


def _unpack(source: Iterator[bytes], directory: Path) -> None:
    """Nothing leaves ``directory``; owners, devices and set-id bits of the image do not come along."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=_Pieces(source), mode="r|") as archive:
        for member in archive:
            target = _inside(directory, member.name)
            if target is not None:
                _extract(archive, member, directory, target)


def _inside(directory: Path, name: str) -> Path | None:
    """Where ``name`` goes; None for the directory itself. Raise ``CliError`` for a way out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _refused(name, "it lies outside")
    for end in range(1, len(parts)):
        if directory.joinpath(*parts[:end]).is_symlink():
            raise _refused(name, "a link stands in its way")
    return directory.joinpath(*parts) if parts else None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, directory: Path, target: Path) -> None:
    if member.isdir():
        if target.is_symlink():
            raise _refused(member.name, "a link stands in its way")
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = _inside(directory, member.linkname)
        if source is None or source.is_symlink():
            raise _refused(member.name, "what it is a link to is none of the files")
        os.link(source, target)
    elif member.isfile() and (file := archive.extractfile(member)) is not None:
        with file, target.open("xb") as written:
            shutil.copyfileobj(file, written, 1 << 20)
        target.chmod(member.mode & 0o777)


def _refused(name: str, why: str) -> CliError:
    return CliError(f"{name} is not written: {why}.", code="ARCHIVE_INVALID")


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken
