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
import shutil
import struct
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.content import write_durably
from workers.errors import ContextIncomplete, ContextInvalid
from workers.oci.digest import Digest
from workers.packs import PackReader, Packs, PackWriter
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
    """``<directory>/<project>/packs`` (``Packs``) and ``<directory>/<project>/manifests/<id>``.

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
        packs = _packs(place)
        slots = packs.slots()
        wanted = {entry.content: entry.size for entry in entries if entry.kind == "f"}
        there = packs.touch({slots[content].pack for content in wanted if content in slots})
        missing = {
            content: size
            for content, size in wanted.items()
            if content not in slots or slots[content].pack not in there
        }
        size = sum(entry.size for entry in entries if entry.kind == "f")
        return Proposal(key, tuple(missing), sum(missing.values()), len(entries), size)

    def contents(self, scope: str, context: str) -> Contents:
        """What takes in the bytes that are missing. Raise ``ContextIncomplete``."""
        place = self._scope(scope)
        wanted = {entry.content: entry.size for entry in self._entries(place, context) if entry.kind == "f"}
        return Contents(_packs(place), wanted)

    def assemble(self, scope: str, context: str) -> tuple[Digest, int]:
        """The context as an upload (a tar), with a ticket. Raise ``ContextIncomplete``, ``NoSpace``."""
        place = self._scope(scope)
        entries = self._entries(place, context)
        buffer = bytearray()
        with self._uploads.content.begin() as writer, _Reading(_packs(place)) as reading:
            for entry in entries:
                buffer += header(entry)
                for piece in reading.content(entry) if entry.kind == "f" else ():
                    buffer += piece
                    if len(buffer) >= _CHUNK:
                        writer.write(buffer)
                        buffer.clear()
                buffer += bytes(-entry.size % tarfile.BLOCKSIZE)
            writer.write(buffer + bytes(2 * tarfile.BLOCKSIZE))
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
            # Before there were packs each content was a file; nobody reads those any more.
            shutil.rmtree(place / "blobs", ignore_errors=True)
            _packs(place).sweep(unused=FORGOTTEN, spared=FRESH, most=KEPT_BYTES, now=now)

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


class Contents:
    """Contents on their way in, fed in pieces of any size. One thread at a time; ``close`` when done.

    What came whole before something went wrong is kept.
    """

    def __init__(self, packs: Packs, wanted: dict[str, int]) -> None:
        self._writer, self._wanted = PackWriter(packs), wanted
        self._header = bytearray()
        self._name, self._left = "", 0
        self._hash = hashlib.sha256()
        self._inside = False
        self.taken = 0

    def feed(self, data: bytes) -> None:
        """Raise ``ContextInvalid``: contents nobody asked for, or not what their name says; ``NoSpace``."""
        view = memoryview(data)
        while view:
            view = self._write(view) if self._inside else self._read_header(view)
            if self._inside and self._left == 0:
                self._keep()

    def finish(self) -> None:
        """All was fed. Raise ``ContextInvalid`` when it breaks off in the middle."""
        if self._inside or self._header:
            raise ContextInvalid("The contents break off in the middle of a file: send them again")

    def close(self) -> None:
        """Nothing half is left. Repeatable."""
        if self._inside:
            self._inside = False
            self._writer.discard()
        self._writer.close()

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
        self._inside = True
        return view[end + 1 :]

    def _write(self, view: memoryview) -> memoryview:
        piece = view[: self._left]
        self._writer.write(piece)
        self._hash.update(piece)
        self._left -= len(piece)
        return view[len(piece) :]

    def _keep(self) -> None:
        if self._hash.hexdigest() != self._name:
            self.close()
            raise ContextInvalid(f"Contents: what came as {self._name} is something else; was it changed?")
        self._inside = False
        self._writer.keep(self._name)
        self.taken += 1


class _Reading:
    """The contents of a context, each checked while it is read."""

    def __init__(self, packs: Packs) -> None:
        self._packs, self._slots = packs, packs.slots()
        self._reader = PackReader(packs)

    def content(self, entry: Entry) -> Iterator[bytes]:
        """Raise ``ContextIncomplete``; what is damaged will be asked for again."""
        slot = self._slots.get(entry.content)
        if slot is None:
            raise _incomplete(entry, "have not come")
        seen = hashlib.sha256()
        try:
            for piece in self._reader.read(slot) if slot.size == entry.size else ():
                seen.update(piece)
                yield piece
        except FileNotFoundError:
            raise _incomplete(entry, "are gone: send them again") from None
        if seen.hexdigest() != entry.content:
            self._packs.forget(entry.content, slot.pack)
            raise _incomplete(entry, "were damaged on the node: send them again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)


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


def header(entry: Entry) -> bytes:
    """Of a tar. What plain fields can say is put together here: ``tarfile`` takes eight times as long."""
    path, link = entry.path, entry.content if entry.kind == "l" else ""
    is_small = len(path) < 100 and len(link) < 100 and entry.size < _OCTAL and entry.mtime < _OCTAL
    if is_small and path.isascii() and link.isascii():
        return _plain(path.encode(), link.encode(), entry)
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime, info.size = entry.mode, entry.mtime, entry.size
    info.type = _TYPES[entry.kind]
    info.linkname = link
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


_OCTAL = 8**11
_TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE}
_USTAR = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")


def _plain(path: bytes, link: bytes, entry: Entry) -> bytes:
    name = path + b"/" if entry.kind == "d" else path
    zero = b"0000000\0"
    fields = (
        *(name, b"%07o\0" % entry.mode, zero, zero, b"%011o\0" % entry.size, b"%011o\0" % entry.mtime),
        *(b" " * 8, _TYPES[entry.kind], link, b"ustar\x0000"),
        *(b"", b"", b"", b"", b""),
    )
    block = _USTAR.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _incomplete(entry: Entry, what: str) -> ContextIncomplete:
    return ContextIncomplete(f"The contents of {entry.path[:200]!r} {what}", path=entry.path[:200])


def _packs(place: Path) -> Packs:
    return Packs(place / "packs")
