"""Archives of strangers (a build context, an ADDed tar) unpacked into a directory of the build.

The work is done by a process chrooted into the directory, with the layers' extractor: links, hard links and
names of a hostile archive play inside. Names of whiteouts mean nothing here, owners are root's unless they
are to be kept. zip archives are turned into tar on their way.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import workers
from workers.content import no_space
from workers.engine.compression import HashingReader, compression_of, decompressed
from workers.errors import BuildExceeded, InvalidArchive, InvalidContext, NodeError

_ROOT = str(Path(workers.__file__).parent.parent)
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from workers.engine.build.unpacker import main; main(*sys.argv[2:])"
)
_BLOCK = 1 << 20
_HEAD = 1024
_TAR_MAGIC = slice(257, 262)


@dataclass(frozen=True)
class ContextLimits:
    """What an archive may unpack to; a few kilobytes can claim any size."""

    unpacked_bytes: int = 8 << 30
    entries: int = 500_000


def unpack(
    source: BinaryIO,
    target: Path,
    *,
    limits: ContextLimits,
    keep_owners: bool = False,
    check: Callable[[], None] = lambda: None,
) -> None:
    """``source`` (which can seek) is a tar, plain or with gzip, zstd, bzip2 or xz, or a zip.

    Raise ``InvalidContext`` (hostile or damaged), ``BuildExceeded`` (too large), ``NoSpace``.
    """
    kind = kind_of(source)
    if kind is None:
        raise InvalidContext("The archive is neither a tar (plain, gzip, zstd, bzip2, xz) nor a zip")
    unpacker = _Unpacker(target, limits, keep_owners)
    size = 0
    try:
        for piece in _tar_pieces(source, kind, limits):
            check()
            size += len(piece)
            if size > limits.unpacked_bytes:
                raise BuildExceeded(
                    f"The archive unpacks to more than {limits.unpacked_bytes >> 20} MB",
                    limit="context",
                    bytes=limits.unpacked_bytes,
                )
            unpacker.feed(piece)
        unpacker.finish()
    except (InvalidArchive, zipfile.BadZipFile, lzma.LZMAError, EOFError, ValueError) as error:
        raise InvalidContext(f"The archive cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise InvalidContext(f"The archive cannot be unpacked: {error}") from error  # bz2 says it so
    finally:
        unpacker.close()


def kind_of(source: BinaryIO) -> str | None:
    """``tar gzip zstd bzip2 xz zip``, or None: not an archive. Leaves ``source`` at its beginning."""
    source.seek(0)
    head = source.read(_HEAD)
    source.seek(0)
    for magic, kind in ((b"PK\3\4", "zip"), (b"PK\5\6", "zip"), (b"\x1f\x8b", "gzip"),
                        (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")):  # fmt: skip
        if head.startswith(magic):
            return kind
    if head[_TAR_MAGIC] == b"ustar" or _is_old_tar(head):
        return "tar"
    return None


def _is_old_tar(head: bytes) -> bool:
    """A header without magic, but with a checksum that is right; or the end mark of an empty tar."""
    if len(head) < tarfile.BLOCKSIZE:
        return False
    block = head[: tarfile.BLOCKSIZE]
    if not block.strip(b"\0"):
        return len(head) == _HEAD and not head.strip(b"\0")
    try:
        claimed = int(block[148:156].rstrip(b"\0 ").strip() or b"x", 8)
    except ValueError:
        return False
    return claimed == 256 + sum(block[:148]) + sum(block[156:])


def _tar_pieces(source: BinaryIO, kind: str, limits: ContextLimits) -> Iterator[bytes]:
    if kind == "zip":
        yield from _zip_as_tar(source, limits)
    elif kind in ("bzip2", "xz"):
        opener = bz2.BZ2File if kind == "bzip2" else lzma.LZMAFile
        with opener(source) as stream:
            while piece := stream.read(_BLOCK):
                yield piece
    else:
        reader = HashingReader(source, "sha256", None)
        compression_of(reader)
        yield from decompressed(reader)


def _zip_as_tar(source: BinaryIO, limits: ContextLimits) -> Iterator[bytes]:
    with zipfile.ZipFile(source) as archive:
        names = archive.infolist()
        if len(names) > limits.entries:
            raise InvalidContext(f"The zip has more than {limits.entries} entries")
        for info in names:
            member = _member(info)
            if stat.S_ISLNK(info.external_attr >> 16):
                member.type = tarfile.SYMTYPE
                member.linkname = archive.read(info)[:4096].decode(errors="surrogateescape")
                member.size = 0
            yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if member.type == tarfile.REGTYPE:
                yield from _zip_data(archive, info)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(info: zipfile.ZipInfo) -> tarfile.TarInfo:
    member = tarfile.TarInfo(info.filename)
    mode = info.external_attr >> 16
    member.mtime = 0
    if info.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, stat.S_IMODE(mode) or 0o755
    else:
        member.mode, member.size = stat.S_IMODE(mode) or 0o644, info.file_size
    return member


def _zip_data(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    size = 0
    with archive.open(info) as file:
        while piece := file.read(_BLOCK):
            size += len(piece)
            if size > info.file_size:
                raise InvalidContext(f"{info.filename}: the zip holds more than it says")
            yield piece
    if size != info.file_size:
        raise InvalidContext(f"{info.filename}: the zip holds less than it says")
    yield bytes(-size % tarfile.BLOCKSIZE)


class _Unpacker:
    """The chrooted process of ``unpacker``."""

    def __init__(self, target: Path, limits: ContextLimits, keep_owners: bool) -> None:
        self._target = target
        arguments = [
            _ROOT,
            os.fspath(target.resolve()),
            str(limits.entries),
            "keep" if keep_owners else "root",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _START, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={},
            bufsize=0,
            pipesize=_BLOCK,
        )
        self._input = cast(IO[bytes], self._process.stdin)

    def feed(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[self._input.write(view) :]
        except BrokenPipeError:
            self.finish()
            raise NodeError("The unpacker stopped reading without an error") from None

    def finish(self) -> None:
        self._input.close()
        output = cast(IO[bytes], self._process.stdout).read().decode()
        complaints = cast(IO[bytes], self._process.stderr).read().decode()
        self._process.wait()
        verdict, _, rest = (output.splitlines() or [""])[-1].partition(" ")
        if verdict == "bad":
            raise InvalidArchive(rest)
        if verdict == "space":
            raise no_space(self._target)
        if verdict != "done":
            raise NodeError(f"The unpacker failed: {rest or complaints.strip()[-400:]}")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
