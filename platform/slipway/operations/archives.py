"""The file of a backup: a zstd-compressed tar of plain files, its manifest the last of them.

A file that was cut off has no manifest, so it is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from slipway.operations.errors import BackupInvalid, CannotBackUp

MANIFEST = "manifest.json"
MANIFEST_BYTES = 64 << 20
_CHUNK = 1 << 20
_HEX = r"[0-9a-f]{64}"
_MEMBER = re.compile(
    r"platform/(db\.sqlite3|database\.dump|format|keys/[A-Za-z0-9][A-Za-z0-9.-]{0,63})"
    rf"|node/(keys/[a-z][a-z.-]{{0,31}}|images/[0-9A-Za-z]{{1,64}}/{_HEX}\.json"
    rf"|layers/(notes/)?sha256/{_HEX}\.tar)"
)


@dataclass(frozen=True)
class Member:
    size: int
    sha256: str


@dataclass(frozen=True)
class Facts:
    """What is known of an installation without opening its database."""

    version: str
    format: int
    made_at: str
    database: str
    """``sqlite`` or ``postgresql``."""
    migrations: dict[str, list[str]]
    settings: dict[str, str]
    """What must or should be the same where it is restored; no secrets."""
    layers: bool
    absent: list[str]
    """What the backup does not hold, in words."""


@dataclass(frozen=True)
class Manifest:
    facts: Facts
    members: dict[str, Member]

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Raise ``BackupInvalid``."""
        try:
            body = json.loads(text)
            members = {name: Member(**each) for name, each in body["members"].items()}
            return cls(Facts(**body["facts"]), members)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupInvalid(f"The manifest of the backup is not understood: {error}.") from error


class Writer:
    """``add`` members, then ``finish`` with the manifest."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self.members: dict[str, Member] = {}

    def add_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            self.add(name, file, os.fstat(file.fileno()).st_size)

    def add(self, name: str, source: BinaryIO, size: int) -> None:
        """Raise ``CannotBackUp`` for a name that a restore would not take."""
        if not _MEMBER.fullmatch(name):
            raise CannotBackUp(f"{name!r} has no place in a backup: move the file away.")
        hashing = _Hashing(source)
        self._put(name, hashing, size)
        self.members[name] = Member(size, hashing.sha256.hexdigest())

    def finish(self, facts: Facts) -> None:
        body = {
            "facts": asdict(facts),
            "members": {name: asdict(each) for name, each in self.members.items()},
        }
        text = json.dumps(body, indent=2).encode()
        self._put(MANIFEST, io.BytesIO(text), len(text))

    def _put(self, name: str, source: object, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, int(time.time())
        self._archive.addfile(member, cast(BinaryIO, source))


class _Hashing:
    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.sha256.update(data)
        return data


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """A new file of mode 0600 that has its name once everything is in it and on disk; else nothing stays."""
    if target.exists():
        raise CannotBackUp(f"{target} exists already: choose another name.")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            compressor = zstandard.ZstdCompressor(level=6, write_checksum=True)
            with (
                compressor.stream_writer(file, closefd=False) as stream,
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def unpack(source: Path, directory: Path) -> Manifest:
    """Put all members below ``directory`` (files 0600, directories 0700) and compare each with the manifest.

    Raise ``BackupInvalid`` unless the file is whole: every member promised is there, no other, each with
    its digest.
    """
    found: dict[str, Member] = {}
    text: bytes | None = None
    try:
        with (
            source.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                content = archive.extractfile(member)
                if text is not None or not member.isreg() or content is None:
                    raise BackupInvalid(f"{source} holds {member.name!r}, which no backup does.")
                if member.name == MANIFEST:
                    text = content.read(MANIFEST_BYTES)
                else:
                    found[member.name] = _extract(member.name, cast(BinaryIO, content), directory)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise BackupInvalid(f"{source} is damaged or no backup of Slipway: {error}.") from error
    if text is None:
        raise BackupInvalid(f"{source} was cut off: it has no manifest.")
    manifest = Manifest.parse(text)
    _compare(source, manifest.members, found)
    return manifest


def _extract(name: str, content: BinaryIO, directory: Path) -> Member:
    if not _MEMBER.fullmatch(name):
        raise BackupInvalid(f"The backup holds {name!r}, which no backup does.")
    path = directory / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hashing = _Hashing(content)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(cast(BinaryIO, hashing), file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
        return Member(file.tell(), hashing.sha256.hexdigest())


def _compare(source: Path, promised: dict[str, Member], found: dict[str, Member]) -> None:
    if missing := sorted(promised.keys() - found.keys()):
        raise BackupInvalid(f"{source} lacks {missing[0]}, which its manifest names.")
    for name, member in sorted(found.items()):
        if promised.get(name) != member:
            raise BackupInvalid(f"{source} is damaged: {name} is not what the manifest says.")
