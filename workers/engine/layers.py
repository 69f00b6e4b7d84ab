"""Layers on disk: one directory per diffID, unpacked once, shared by every image that may use it.

A layer gets its name only after its bytes were hashed here. Whoever works with layers holds a
``lease``; the sweep waits for nobody and simply does not happen while one is held.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import workers
from workers.content import full_disk, no_space, sync_directory
from workers.engine import splits
from workers.engine.compression import HashingReader, compression_of, decompressed
from workers.engine.extract import OPAQUE
from workers.engine.places import Places
from workers.engine.trees import remove_tree
from workers.errors import DigestMismatch, InvalidArchive, NodeError, SlipwayError
from workers.messages import LayerFacts
from workers.oci.digest import Digest

_ROOT = str(Path(workers.__file__).parent.parent)
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from workers.engine.extract import main; main(*sys.argv[2:])"
)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an image may unpack to, and each of its layers; a few kilobytes can claim any size."""

    unpacked_bytes: int = 32 << 30
    entries: int = 1_000_000


class Budget:
    """Bytes that the layers of one image may unpack to together: a small manifest can name one many times."""

    def __init__(self, limit: int) -> None:
        self.limit, self._left = limit, limit
        self._lock = threading.Lock()

    def spend(self, size: int) -> None:
        """Raise ``InvalidArchive`` when there is no more."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise InvalidArchive(f"The image unpacks to more than {self.limit} bytes", limit=self.limit)


@dataclass(frozen=True)
class Unpacked:
    """A verified layer that has no name yet: ``keep`` or ``discard`` it."""

    facts: LayerFacts
    directory: Path | None
    """None when the node had the layer already and the bytes were only hashed."""
    compression: str
    """``gzip``, ``zstd`` or empty: how the blob came."""
    notes: Path | None = None
    """What gives the layer's tar back, together with its directory; None when the node has it already."""
    skipped: tuple[str, ...] = ()
    """Device nodes that were left out."""


# --------------------------------------------------------------------------- leases

Waiting = Callable[[str, int, int], None]
"""What a job tells: in words, and how far it is."""
SWEEP_AHEAD = "Waiting for a lock: layers that nobody uses are being removed from the node"
LOOK_AGAIN = 0.05
"""Seconds between two attempts on a lock."""


@contextmanager
def lease(places: Places, waiting: Waiting | None = None) -> Iterator[None]:
    """While it is held, no layer is swept. Any number of holders.

    A sweep that is at work is waited for. ``waiting`` hears of it again and again, and may end the wait by
    raising.
    """
    while True:
        with _locked(places.layers, fcntl.LOCK_SH | (fcntl.LOCK_NB if waiting else 0)) as got:
            if got:
                yield
                return
        if waiting is not None:
            waiting(SWEEP_AHEAD, 0, 0)
            time.sleep(LOOK_AGAIN)  # the kernel tells only him who waits and can do nothing else


@contextmanager
def sweeping(places: Places) -> Iterator[bool]:
    """Yield whether we are alone; while we are, leases wait."""
    with _locked(places.layers, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        yield alone


@contextmanager
def _locked(directory: Path, operation: int) -> Iterator[bool]:
    """Yield whether the lock was got, which only a non-blocking ``operation`` can fail to."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, operation)
            got = True
        except BlockingIOError:
            got = False
        yield got
    finally:
        os.close(descriptor)


# --------------------------------------------------------------------------- unpacking


def unpack(
    places: Places,
    source: BinaryIO,
    *,
    expected: Digest | None = None,
    claimed: Digest | None = None,
    limits: ArchiveLimits = ArchiveLimits(),
    budget: Budget | None = None,
    strict: bool = False,
    seen: Callable[[int], None] | None = None,
) -> Unpacked:
    """Unpack the layer blob ``source`` aside, hashing blob and content; call under a ``lease``.

    ``expected`` is the blob's digest, ``claimed`` the diffID an image claims for it: ``DigestMismatch``
    unless both hold. ``InvalidArchive`` and ``NoSpace`` leave nothing behind. With ``strict`` the tar
    must have its end mark: for archives no digest vouches for. ``budget`` is that of the whole image.
    """
    reader = HashingReader(source, expected.algorithm if expected else "sha256", seen)
    aside = None if claimed is not None and is_present(places, str(claimed)) else _Aside.make(places)
    try:
        compression = compression_of(reader)
        spent = budget or Budget(limits.unpacked_bytes)
        size, diff_id, skipped = _pour(reader, aside, limits, spent, strict, claimed)
        digest = _verified(reader, expected)
        _require_claimed(digest, diff_id, claimed)
        if aside is not None:
            splits.pack(aside.notes)
    except BaseException as error:
        if aside is not None:
            aside.remove()
        if isinstance(error, InvalidArchive):
            _verified(reader, expected)  # bytes that are not the promised ones explain everything else
        raise
    facts = LayerFacts(str(digest), str(diff_id), reader.size, size)
    if aside is None:
        return Unpacked(facts, None, compression, skipped=skipped)
    return Unpacked(facts, aside.directory, compression, aside.notes, skipped)


def is_present(places: Places, diff_id: str) -> bool:
    """Whether the node has the layer, and with it what gives its tar back."""
    return places.layer(diff_id).is_dir() and places.layer_notes(diff_id).is_dir()


def keep(places: Places, layer: Unpacked) -> None:
    """Give the layer its name; the caller has synced the filesystem. Equal layers are one."""
    diff_id = layer.facts.diff_id
    # In this order: a layer that has its name has its notes.
    for aside, target in (
        (layer.notes, places.layer_notes(diff_id)),
        (layer.directory, places.layer(diff_id)),
    ):
        if aside is not None:
            _name(aside, target)


def _name(aside: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        aside.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        remove_tree(aside)  # somebody else unpacked it meanwhile
    sync_directory(target.parent)


def discard(layer: Unpacked) -> None:
    """Repeatable; without effect after ``keep``."""
    for aside in (layer.directory, layer.notes):
        if aside is not None:
            remove_tree(aside)


def is_opaque(directory: Path) -> bool:
    """Whether nothing from below shines through ``directory``."""
    try:
        return os.getxattr(directory, OPAQUE) == b"y"
    except OSError:
        return False


@dataclass(frozen=True)
class _Aside:
    """Where a layer comes into being: its files, and its notes beside them."""

    directory: Path
    notes: Path

    @classmethod
    def make(cls, places: Places) -> _Aside:
        name = secrets.token_hex(16)
        made = cls(places.layer_ingest / name, places.layer_ingest / f"{name}.notes")
        with full_disk(made.directory):
            made.directory.mkdir()
            made.notes.mkdir(mode=0o700)
        made.directory.chmod(0o755)
        return made

    def remove(self) -> None:
        remove_tree(self.directory)
        remove_tree(self.notes)


def _verified(reader: HashingReader, expected: Digest | None) -> Digest:
    actual = reader.drain()
    if expected is not None and actual != expected:
        raise DigestMismatch(
            f"Layer {expected} has other bytes than its digest says: they hash to {actual}",
            layer=str(expected),
            expected=str(expected),
            actual=str(actual),
        )
    return actual


def _require_claimed(digest: Digest, diff_id: Digest, claimed: Digest | None) -> None:
    if claimed is not None and diff_id != claimed:
        raise DigestMismatch(
            f"Layer {digest} unpacks to {diff_id}, not to {claimed} as the image's config claims",
            layer=str(digest),
            expected=str(claimed),
            actual=str(diff_id),
        )


def _pour(
    reader: HashingReader,
    aside: _Aside | None,
    limits: ArchiveLimits,
    budget: Budget,
    strict: bool,
    claimed: Digest | None,
) -> tuple[int, Digest, tuple[str, ...]]:
    """Decompress, hash, and feed the extractor; size and diffID of the content, and what was left out."""
    content = hashlib.new(claimed.algorithm if claimed else "sha256")
    size = 0
    extractor = _Extractor(aside, limits, strict) if aside is not None else None
    try:
        for piece in decompressed(reader):
            size += len(piece)
            budget.spend(len(piece))
            content.update(piece)
            if extractor is not None:
                extractor.feed(piece)
        skipped = extractor.finish() if extractor is not None else ()
    finally:
        if extractor is not None:
            extractor.close()
    return size, Digest(content.name, content.hexdigest()), skipped


class _Extractor:
    """The chrooted process of ``workers.engine.extract``."""

    def __init__(self, aside: _Aside, limits: ArchiveLimits, strict: bool) -> None:
        self._target = aside.directory
        with full_disk(aside.notes), ExitStack() as stack:
            notes = [
                stack.enter_context((aside.notes / name).open("xb")).fileno()
                for name in (splits.FRAMES, splits.KEPT_FILES)
            ]
            arguments = [
                _ROOT,
                os.fspath(self._target.resolve()),
                str(limits.entries),
                "strict" if strict else "lenient",
                *map(str, notes),
            ]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", _START, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                bufsize=0,
                pipesize=1 << 20,
                pass_fds=notes,
            )
        self._input = cast(IO[bytes], self._process.stdin)

    def feed(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[self._input.write(view) :]
        except BrokenPipeError:
            self.finish()  # it gave up before the end, and says why
            raise NodeError("The extractor stopped reading without an error") from None

    def finish(self) -> tuple[str, ...]:
        """What was left out; raise what the extractor says went wrong."""
        self._input.close()
        output, complaints = (cast(IO[bytes], each).read().decode() for each in
                              (self._process.stdout, self._process.stderr))  # fmt: skip
        self._process.wait()
        lines = output.splitlines()
        verdict, _, rest = (lines[-1] if lines else "").partition(" ")
        if verdict == "done":
            return tuple(line.removeprefix("skipped ") for line in lines[:-1])
        raise self._failure(verdict, rest, complaints)

    def _failure(self, verdict: str, rest: str, complaints: str) -> SlipwayError:
        if verdict == "bad":
            return InvalidArchive(f"The layer cannot be unpacked: {rest}")
        if verdict == "space":
            return no_space(self._target)
        why = rest or complaints.strip()[-400:] or f"it ended with status {self._process.returncode}"
        return NodeError(f"The extractor failed in {self._target}: {why}")

    def close(self) -> None:
        """The process has ended. Repeatable."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
