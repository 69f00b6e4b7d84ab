"""Build contexts that arrive in parts: what a folder holds, and of its contents only those not here yet.

A client says what the context is (``propose``), is told which contents this node lacks, sends those
(``Contents``), and the context is put together as one archive (``assemble``). Contents are kept per project
under their SHA-256, so the next build of the folder sends what has changed; nobody learns what another
project's folder holds.

A manifest is NDJSON, an entry a line: ``{"p": path, "t": "f" | "d" | "l", "m": mode, "s": size, "h": sha256,
"l": target, "d": mtime}``. Contents are ``<sha256> <size>`` on a line, then the bytes, again and again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.content import full_disk, write_durably
from workers.errors import ContextIncomplete, ContextInvalid
from workers.oci.digest import Digest
from workers.uploads import Uploads

ENTRIES_MAX = 300_000
MANIFEST_MAX = 96 << 20
CONTENT_MAX = 64 << 30
PATH_MAX = 4096
FORGOTTEN = 7 * 24 * 3600.0
"""Seconds after which contents nobody asked for are dropped."""
KEPT_BYTES = 4 << 30
"""Of a project's contents; beyond it those unused for longest are dropped."""
FRESH = 3600.0
"""Seconds for which contents are spared in any case: a build may be under way with them."""
_CHUNK = 1 << 20
_HEADER_MAX = 96
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Entry:
    """A line of a manifest, checked."""

    path: str
    kind: str
    mode: int
    size: int
    content: str
    """SHA-256 of a file, target of a link."""
    mtime: int


@dataclass(frozen=True)
class Proposal:
    context: str
    missing: tuple[str, ...]
    """SHA-256 of the contents to send, in the manifest's order."""
    missing_bytes: int
    entries: int
    size: int


class Contexts:
    """``<directory>/<project>/blobs/<xx>/<sha256>`` and ``<directory>/<project>/manifests/<id>``.

    Safe to share between threads and processes.
    """

    def __init__(self, directory: Path, uploads: Uploads) -> None:
        self._directory, self._uploads = directory, uploads

    def propose(self, scope: str, manifest: bytes) -> Proposal:
        """Keep the manifest, for a day; what is missing is to come. Raise ``ContextInvalid``, ``NoSpace``."""
        entries = parse(manifest)
        key = hashlib.sha256(manifest).hexdigest()
        place = self._scope(scope)
        (place / "manifests").mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(place / "manifests" / key, manifest)
        missing: dict[str, int] = {}
        for entry in entries:
            if entry.kind == "f" and not self._touch(place, entry.content):
                missing[entry.content] = entry.size
        size = sum(entry.size for entry in entries if entry.kind == "f")
        return Proposal(key, tuple(missing), sum(missing.values()), len(entries), size)

    def contents(self, scope: str, context: str) -> Contents:
        """What takes in the bytes that are missing. Raise ``ContextIncomplete``."""
        place = self._scope(scope)
        wanted = {entry.content: entry.size for entry in self._entries(place, context) if entry.kind == "f"}
        return Contents(place / "blobs", wanted)

    def assemble(self, scope: str, context: str) -> tuple[Digest, int]:
        """The context as an upload (a tar), with a ticket. Raise ``ContextIncomplete``, ``NoSpace``."""
        place = self._scope(scope)
        entries = self._entries(place, context)
        with self._uploads.content.begin() as writer:
            for entry in entries:
                for piece in _archived(place / "blobs", entry):
                    writer.write(piece)
            writer.write(bytes(2 * tarfile.BLOCKSIZE))
            size = writer.size
            return self._uploads.keep(writer), size

    def forget(self, scope: str) -> None:
        """The project is no more. Repeatable."""
        shutil.rmtree(self._scope(scope), ignore_errors=True)

    def sweep(self, now: float | None = None) -> None:
        """Drop what was not used for long, or is more than a project may keep."""
        now = time.time() if now is None else now
        for place in list(self._directory.iterdir()) if self._directory.exists() else []:
            for manifest in list((place / "manifests").glob("*")):
                if manifest.stat().st_mtime < now - 24 * 3600:
                    manifest.unlink(missing_ok=True)
            _sweep_blobs(place / "blobs", now)

    def _scope(self, scope: str) -> Path:
        if len(scope) != 32 or set(scope) - _HEX:
            raise ContextInvalid(f"{scope[:40]!r} is no project's id")
        return self._directory / scope

    def _entries(self, place: Path, context: str) -> list[Entry]:
        if len(context) != 64 or set(context) - _HEX:
            raise ContextInvalid(f"{context[:70]!r} is no context's id")
        try:
            return parse((place / "manifests" / context).read_bytes())
        except FileNotFoundError:
            raise ContextIncomplete("The node knows no such context (any more): propose it again") from None

    @staticmethod
    def _touch(place: Path, content: str) -> bool:
        """Whether it is here; it is spared for a while then."""
        try:
            os.utime(_blob(place / "blobs", content))
        except FileNotFoundError:
            return False
        return True


class Contents:
    """Contents on their way in, fed in pieces of any size. One thread at a time; ``close`` when done."""

    def __init__(self, blobs: Path, wanted: dict[str, int]) -> None:
        self._blobs, self._wanted = blobs, wanted
        self._header = bytearray()
        self._name, self._left = "", 0
        self._hash = hashlib.sha256()
        self._file: Any = None
        self._partial: Path | None = None
        self.taken = 0

    def feed(self, data: bytes) -> None:
        """Raise ``ContextInvalid``: contents nobody asked for, or not what their name says; ``NoSpace``."""
        view = memoryview(data)
        while view:
            view = self._read_header(view) if self._file is None else self._write(view)
            if self._file is not None and self._left == 0:
                self._keep()

    def finish(self) -> None:
        """All was fed. Raise ``ContextInvalid`` when it breaks off in the middle."""
        if self._file is not None or self._header:
            raise ContextInvalid("The contents break off in the middle of a file: send them again")

    def close(self) -> None:
        """Nothing half is left. Repeatable."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._partial = None

    def _read_header(self, view: memoryview) -> memoryview:
        end = bytes(view[:_HEADER_MAX]).find(b"\n")
        self._header += view[: end if end >= 0 else _HEADER_MAX]
        if len(self._header) > _HEADER_MAX or (end < 0 and len(view) > _HEADER_MAX):
            raise ContextInvalid("Contents: a line '<sha256> <size>' was expected")
        if end < 0:
            return view[len(view) :]
        name, _, size = self._header.decode("ascii", "replace").partition(" ")
        self._header.clear()
        if self._wanted.get(name) is None or str(self._wanted[name]) != size:
            raise ContextInvalid(f"Contents: {name[:70]!r} of {size[:20]} bytes are not in the manifest")
        self._name, self._left, self._hash = name, int(size), hashlib.sha256()
        target = _blob(self._blobs, name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._partial = target.with_name(f".{secrets.token_hex(8)}")
        with full_disk(self._partial):
            self._file = self._partial.open("xb", buffering=0)
        return view[end + 1 :]

    def _write(self, view: memoryview) -> memoryview:
        piece = view[: self._left]
        written = 0
        with full_disk(self._blobs):
            while written < len(piece):
                written += self._file.write(piece[written:])
        self._hash.update(piece)
        self._left -= len(piece)
        return view[len(piece) :]

    def _keep(self) -> None:
        assert self._partial is not None  # noqa: S101 - it is there as long as the file is open
        self._file.close()
        self._file = None
        if self._hash.hexdigest() != self._name:
            self.close()
            raise ContextInvalid(f"Contents: what came as {self._name} is something else; was it changed?")
        # Not synced: `assemble` checks what it reads, and what a power cut took is asked for again.
        self._partial.rename(_blob(self._blobs, self._name))
        self._partial = None
        self.taken += 1


def parse(manifest: bytes) -> list[Entry]:
    """The entries, parents before what is in them. Raise ``ContextInvalid``."""
    if len(manifest) > MANIFEST_MAX:
        raise ContextInvalid(f"The manifest is larger than {MANIFEST_MAX >> 20} MiB")
    found: dict[str, Entry] = {}
    for number, line in enumerate(manifest.splitlines(), 1):
        if not line.strip():
            continue
        entry = _parse_line(line, number)
        if entry.path in found:
            raise ContextInvalid(f"Line {number}: {entry.path[:200]!r} is there twice")
        found[entry.path] = entry
        if len(found) > ENTRIES_MAX:
            raise ContextInvalid(f"More than {ENTRIES_MAX} entries: leave some out with .dockerignore")
    for entry in found.values():
        parent = entry.path.rpartition("/")[0]
        if parent and found.get(parent, entry).kind != "d" and parent in found:
            raise ContextInvalid(f"{entry.path[:200]!r} lies below something that is no directory")
    return sorted(found.values(), key=lambda entry: entry.path.split("/"))


def _parse_line(line: bytes, number: int) -> Entry:
    try:
        body = json.loads(line)
        path, kind, mode = body["p"], body["t"], body["m"]
        size, content, mtime = body.get("s", 0), body.get("h" if kind == "f" else "l", ""), body.get("d", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContextInvalid(f"Line {number}: no entry of a manifest") from error
    numbers = all(type(each) is int and each >= 0 for each in (mode, size, mtime))
    if not (numbers and isinstance(path, str) and isinstance(content, str) and kind in ("f", "d", "l")):
        raise ContextInvalid(f"Line {number}: a field is not what it must be")
    _check_path(path, number)
    if kind == "f" and (len(content) != 64 or set(content) - _HEX or size > CONTENT_MAX):
        raise ContextInvalid(f"Line {number}: a file needs its size and SHA-256")
    if kind == "l" and (not 0 < len(content.encode("utf-8", "surrogatepass")) < PATH_MAX or "\0" in content):
        raise ContextInvalid(f"Line {number}: a link needs a target")
    return Entry(path, kind, mode & 0o7777, size if kind == "f" else 0, content, min(mtime, 1 << 33))


def _check_path(path: str, number: int) -> None:
    parts = path.split("/")
    fits = 0 < len(path) < PATH_MAX and "\0" not in path and not {"", ".", ".."} & set(parts)
    try:
        fits = fits and all(len(part.encode()) < 256 for part in parts)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ContextInvalid(f"Line {number}: {path[:200]!r} is no path inside a context")


def _archived(blobs: Path, entry: Entry) -> Iterator[bytes]:
    """Its header and, of a file, its bytes. Raise ``ContextIncomplete``."""
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime, info.size = entry.mode, entry.mtime, entry.size
    if entry.kind == "d":
        info.type = tarfile.DIRTYPE
    elif entry.kind == "l":
        info.type, info.linkname = tarfile.SYMTYPE, entry.content
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if entry.kind == "f" and entry.size:
        yield from _checked(_blob(blobs, entry.content), entry)
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    elif entry.kind == "f":
        _require_there(_blob(blobs, entry.content), entry)


def _require_there(path: Path, entry: Entry) -> None:
    if not path.exists():
        raise ContextIncomplete(f"The contents of {entry.path[:200]!r} have not come", path=entry.path[:200])


def _checked(path: Path, entry: Entry) -> Iterator[bytes]:
    _require_there(path, entry)
    seen, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
            size += len(chunk)
            if size > entry.size:
                break
            yield chunk
    if seen.hexdigest() != entry.content or size != entry.size:
        path.unlink(missing_ok=True)
        raise ContextIncomplete(
            f"The contents of {entry.path[:200]!r} were damaged on the node: send them again",
            path=entry.path[:200],
        )


def _sweep_blobs(blobs: Path, now: float) -> None:
    files: list[tuple[float, int, Path]] = []
    for path in blobs.glob("*/*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            files.append((status.st_mtime, status.st_size, path))
    _drop(files, now)


def _drop(files: Iterable[tuple[float, int, Path]], now: float) -> None:
    total = sum(size for _, size, _ in files)
    for used, size, path in sorted(files):
        if used > now - FRESH:
            break
        if used < now - FORGOTTEN or total > KEPT_BYTES:
            path.unlink(missing_ok=True)
            total -= size


def _blob(blobs: Path, content: str) -> Path:
    return blobs / content[:2] / content
