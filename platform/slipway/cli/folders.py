"""A folder as a build context: what of it is sent, and in which form.

First a manifest of paths and hashes; the server answers which contents its node lacks; then those, in one
stream. What the ignore file leaves out never leaves this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from slipway.cli.client import UPLOAD_PIECE, Client
from slipway.cli.errors import CliError, Exit, Problem
from slipway.cli.ignore import Ignore, InvalidPattern, Place, ignore_names
from slipway.cli.output import remark
from slipway.cli.progress import Bar, bar

INCOMPLETE = "CONTEXT_INCOMPLETE"
_PIECE = 1 << 20


@dataclass
class Folder:
    """What of a directory is sent; ``files`` names a file for each content."""

    root: Path
    lines: list[bytes] = field(default_factory=list)
    files: dict[str, tuple[Path, int]] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    size: int = 0

    @property
    def manifest(self) -> bytes:
        return b"".join(self.lines)


def read_ignore(root: Path, dockerfile: str) -> Ignore:
    """The first ignore file that is there counts. Raise ``CliError``."""
    for name in ignore_names(dockerfile):
        try:
            return Ignore.parse((root / name).read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            continue
        except InvalidPattern as error:
            raise CliError(f"{name}: {error}.", code="IGNORE_FILE_INVALID") from error
        except OSError as error:
            raise _unreadable(root / name, error) from error
    return Ignore.of(())


def scan(root: Path, ignore: Ignore, *, quiet: bool = False) -> Folder:
    """Raise ``CliError`` for what cannot be read."""
    folder = Folder(root)
    with bar("Reading the folder", quiet=quiet) as shown:
        for number, (path, name, status) in enumerate(_walk(root, ignore.root)):
            _add(folder, path, name, status)
            if number % 64 == 0:
                shown.show(f"Reading {name}", folder.size, 0)
    return folder


def _walk(directory: Path, place: Place) -> Iterator[tuple[Path, str, os.stat_result]]:
    """Path, name in the context and status, parents first, in order."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(directory, error) from error
    for entry in found:
        below = place.enter(entry.name)
        is_directory = entry.is_dir(follow_symlinks=False)
        if below.excluded and (not is_directory or below.prunable):
            continue
        path = Path(entry.path)
        inner = list(_walk(path, below)) if is_directory and below.excluded else None
        # Of an excluded directory in which something is wanted, the directory itself is needed as well.
        if inner == []:
            continue
        yield path, below.path, entry.stat(follow_symlinks=False)
        if is_directory:
            yield from inner if inner is not None else _walk(path, below)


def _add(folder: Folder, path: Path, name: str, status: os.stat_result) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        remark(f"{name!r} is left out: its name is no UTF-8.")
        return
    entry: dict[str, Any] = {"p": name, "m": stat.S_IMODE(status.st_mode), "d": max(0, int(status.st_mtime))}
    if stat.S_ISDIR(status.st_mode):
        entry["t"] = "d"
    elif stat.S_ISLNK(status.st_mode):
        entry |= {"t": "l", "l": os.readlink(path)}
    elif stat.S_ISREG(status.st_mode):
        key, size = _hash(path)
        entry |= {"t": "f", "s": size, "h": key}
        folder.files[key] = path, size
        folder.size += size
    else:
        remark(f"{name} is left out: it is neither a file nor a directory nor a link.")
        return
    folder.paths.add(name)
    folder.lines.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def _hash(path: Path) -> tuple[str, int]:
    found, size = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
                size += len(piece)
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.hexdigest(), size


def _unreadable(path: Path, error: OSError) -> CliError:
    missing = isinstance(error, FileNotFoundError)
    return CliError(
        f"{path} cannot be read: {(error.strerror or str(error)).lower()}.",
        code="FILE_UNREADABLE",
        hint="" if missing else "A line in .dockerignore leaves it out.",
        exit_code=Exit.NOT_FOUND if missing else Exit.ERROR,
    )


# --------------------------------------------------------------------------- on its way


def send(client: Client, builds: str, folder: Folder, *, quiet: bool) -> str:
    """Bring the node what it lacks of the folder; the id of the context. ``builds``: their path."""
    manifest = folder.manifest
    told = client.upload(
        f"{builds}/contexts", {}, io.BytesIO(manifest), len(manifest), "application/x-ndjson"
    )
    missing: Sequence[str] = told["missing"]
    if missing:
        chosen = [(key, *folder.files[key]) for key in missing]
        total = sum(len(_header(key, size)) + size for key, _, size in chosen)
        with bar("Sending the folder", quiet=quiet) as shown:
            body = _Contents(chosen, shown, total)
            path = f"{builds}/contexts/{told['context']}"
            client.upload(path, {}, body, total, "application/octet-stream")  # type: ignore[arg-type]  # read is all
    return str(told["context"])


def build(
    client: Client, builds: str, folder: Folder, options: Mapping[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Ask for a build of the folder. What the node lost meanwhile is sent once more."""
    for last in (False, True):
        context = send(client, builds, folder, quiet=quiet)
        try:
            made: dict[str, Any] = client.post(builds, {**options, "context": context}, timeout=600.0)
        except Problem as error:
            if last or error.code != INCOMPLETE:
                raise
        else:
            return made
    raise AssertionError("the last attempt returns or raises")


def _header(key: str, size: int) -> bytes:
    return f"{key} {size}\n".encode()


class _Contents(io.RawIOBase):
    """Headers and bytes of ``chosen``, as ``read`` asks for them."""

    def __init__(self, chosen: Sequence[tuple[str, Path, int]], shown: Bar, total: int) -> None:
        self._left = iter(chosen)
        self._bar, self._total, self._done = shown, total, 0
        self._file: IO[bytes] | None = None
        self._rest = 0
        self._buffer = bytearray()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = UPLOAD_PIECE if size < 0 else max(size, UPLOAD_PIECE)
        while len(self._buffer) < wanted and self._fill():
            pass
        piece = bytes(self._buffer)
        self._buffer.clear()
        self._done += len(piece)
        self._bar.show("Sending the folder", self._done, self._total)
        return piece

    def _fill(self) -> bool:
        if self._file is None:
            entry = next(self._left, None)
            if entry is None:
                return False
            key, path, size = entry
            try:
                self._file = path.open("rb", buffering=0)
            except OSError as error:
                raise _unreadable(path, error) from error
            self._rest = size
            self._buffer += _header(key, size)
        piece = self._file.read(min(_PIECE, self._rest)) if self._rest else b""
        if self._rest and not piece:
            raise CliError("A file became shorter while it was sent; try again.", code="FILE_CHANGED")
        self._buffer += piece
        self._rest -= len(piece)
        if not self._rest:
            self._file.close()
            self._file = None
        return True
