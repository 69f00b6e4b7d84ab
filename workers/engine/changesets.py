"""Layers as tars: written from a directory in one canonical form, or given back exactly as they came.

A layer made here is its directory and nothing else: the same files always give the same bytes. A layer
that came from elsewhere has notes of how its tar was written (``splits``).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.content import full_disk
from workers.engine import splits
from workers.engine.entries import DIRECTORY, FIFO, FILE, LINK, SYMLINK, Header, written
from workers.engine.extract import OPAQUE, for_any_namespace, is_kept
from workers.engine.layers import Unpacked
from workers.engine.places import Places
from workers.engine.splits import gathered
from workers.errors import InvalidArchive, LayerNotKept, NodeError
from workers.messages import LayerFacts

CANONICAL = "canonical.json"
_WHITEOUT = b".wh."
_END = bytes(1024)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 1 << 20
_MAX_PATH = 4095


def write_layer(directory: Path, write: Callable[[bytes], None], *, mtime_max: int | None = None) -> None:
    """Hand ``write`` the canonical layer tar of ``directory``, the upper of an overlay at rest.

    It depends on the files' names, contents, modes, owners, kept attributes and times in whole seconds
    (none later than ``mtime_max``), and on nothing else. What overlayfs marks as deleted is written as
    OCI has it. Raise ``InvalidArchive`` on what no layer can hold.
    """
    for piece in layer_pieces(directory, mtime_max):
        write(piece)


def measure(
    places: Places,
    directory: Path,
    *,
    mtime_max: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Unpacked:
    """Hash the canonical tar of ``directory``, and note that it is one: for ``layers.keep``.

    Call under a ``lease``; the directory must lie on the filesystem of the layers. ``check`` may raise to end
    it, also in the middle of one huge file.
    """
    content = hashlib.sha256()
    size = 0
    for piece in layer_pieces(directory, mtime_max):
        check()
        content.update(piece)
        size += len(piece)
    notes = places.layer_ingest / f"{secrets.token_hex(16)}.notes"
    with full_disk(notes):
        notes.mkdir(mode=0o700)
        (notes / CANONICAL).write_text(json.dumps({"mtime_max": mtime_max}))
    diff_id = f"sha256:{content.hexdigest()}"
    return Unpacked(LayerFacts(diff_id, diff_id, size, size), directory, "", notes)


def stream_layer(places: Places, diff_id: str) -> Iterator[bytes]:
    """The exact uncompressed tar of a layer, in large pieces; call under a ``lease``.

    Raise ``LayerNotKept`` at once when the node cannot give it back, ``NodeError`` at the end when the
    bytes do not hash to ``diff_id``: what was read until then is worth nothing.
    """
    return _verified(_pieces(places, diff_id), diff_id)


def require_streamable(places: Places, diff_id: str) -> None:
    """Raise ``LayerNotKept`` unless ``stream_layer`` can give the layer."""
    notes = places.layer_notes(diff_id)
    if not places.layer(diff_id).is_dir() or not any(
        (notes / name).exists() for name in (splits.SPLIT, CANONICAL)
    ):
        raise LayerNotKept(
            f"Layer {diff_id} was unpacked by an earlier version of Slipway, which did not note how its"
            " archive was made: pull or import its image again",
            layer=diff_id,
        )


def _pieces(places: Places, diff_id: str) -> Iterator[bytes]:
    require_streamable(places, diff_id)
    directory, notes = places.layer(diff_id), places.layer_notes(diff_id)
    if (notes / splits.SPLIT).exists():
        return gathered(splits.joined(notes, directory))
    return layer_pieces(directory, json.loads((notes / CANONICAL).read_text())["mtime_max"])


def _verified(pieces: Iterator[bytes], diff_id: str) -> Iterator[bytes]:
    algorithm, _, expected = diff_id.partition(":")
    content = hashlib.new(algorithm)
    for piece in pieces:
        content.update(piece)
        yield piece
    if content.hexdigest() != expected:
        raise NodeError(
            f"Layer {diff_id} on this node is damaged: its files no longer give its bytes. Remove its"
            " images and import them again",
            layer=diff_id,
        )


# --------------------------------------------------------------------------- the canonical form


def layer_pieces(directory: Path, mtime_max: int | None = None) -> Iterator[bytes]:
    """As ``write_layer``, to be drawn."""
    return gathered(_Writer(mtime_max).pieces(directory))


class _Writer:
    def __init__(self, mtime_max: int | None) -> None:
        self._mtime_max = mtime_max
        self._first: dict[int, bytes] = {}
        """Inode of a file with several names → the name it was written under."""

    def pieces(self, directory: Path) -> Iterator[bytes]:
        """Directories before what is in them, names in the order of their bytes."""
        root = os.open(directory, _ENTER)
        try:
            if _is_opaque(root):
                yield _whiteout(b"", b".wh..opq")
            pending = self._listed(root, b"")
            while pending:
                path, found = pending.pop()
                if not stat.S_ISDIR(found.st_mode):
                    yield from self._leaf(root, path, found)
                    continue
                inner = os.open(path, _ENTER, dir_fd=root)
                try:
                    yield self._header(path + b"/", found, DIRECTORY, xattrs=_xattrs(inner))
                    if _is_opaque(inner):
                        yield _whiteout(path + b"/", b".wh..opq")
                    pending += self._listed(inner, path + b"/")
                finally:
                    os.close(inner)
            yield _END
        finally:
            os.close(root)

    def _listed(self, descriptor: int, prefix: bytes) -> list[tuple[bytes, os.stat_result]]:
        """The last comes first: the caller takes from the end."""
        with os.scandir(descriptor) as entries:
            found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        found.sort(reverse=True)
        for name, _ in found:
            if len(prefix) + len(name) > _MAX_PATH:
                raise InvalidArchive(f"The path {_shown(prefix + name)} is too long for a layer")
            if name.startswith(_WHITEOUT):
                raise InvalidArchive(
                    f"{_shown(prefix + name)} cannot be in a layer: names that begin with '.wh.' stand for"
                    " deletions there"
                )
        return [(prefix + name, each) for name, each in found]

    def _leaf(self, root: int, path: bytes, found: os.stat_result) -> Iterator[bytes]:
        mode = found.st_mode
        parent, slash, name = path.rpartition(b"/")
        if stat.S_ISCHR(mode) and found.st_rdev == 0:
            yield _whiteout(parent + slash, name)
        elif stat.S_ISREG(mode):
            yield from self._file(root, path, found)
        elif stat.S_ISLNK(mode):
            target = os.fsencode(os.readlink(path, dir_fd=root))
            yield self._header(path, found, SYMLINK, link=target)
        elif stat.S_ISFIFO(mode):
            yield self._header(path, found, FIFO)
        elif not stat.S_ISSOCK(mode):  # a socket is of no use to anybody else
            raise InvalidArchive(f"The device node {_shown(path)} cannot be in a layer")

    def _file(self, root: int, path: bytes, found: os.stat_result) -> Iterator[bytes]:
        if found.st_nlink > 1:
            first = self._first.setdefault(found.st_ino, path)
            if first != path:
                yield self._header(path, found, LINK, link=first)
                return
        descriptor = os.open(path, _OPEN, dir_fd=root)
        try:
            size = found.st_size
            yield self._header(path, found, FILE, size=size, xattrs=_xattrs(descriptor))
            left = size
            while left:
                piece = os.read(descriptor, min(left, _READ))
                if not piece:
                    raise NodeError(f"{_shown(path)} became shorter while its layer was written")
                left -= len(piece)
                yield piece
            if size % 512:
                yield bytes(-size % 512)
        finally:
            os.close(descriptor)

    def _header(
        self,
        path: bytes,
        found: os.stat_result,
        kind: bytes,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
    ) -> bytes:
        mtime = found.st_mtime_ns // 1_000_000_000
        if self._mtime_max is not None:
            mtime = min(mtime, self._mtime_max)
        mode = stat.S_IMODE(found.st_mode)
        return written(Header(path, kind, mode, found.st_uid, found.st_gid, size, mtime, link, xattrs or {}))


def _whiteout(prefix: bytes, name: bytes) -> bytes:
    """overlayfs links its marks together and gives them any time: nothing of that goes out."""
    return written(Header(prefix + _WHITEOUT + name, FILE))


def _xattrs(descriptor: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name in sorted(map(os.fsencode, os.listxattr(descriptor))):
        if is_kept(name) and b"=" not in name:  # pax cannot express that
            found[name] = os.getxattr(descriptor, name)
    if b"security.capability" in found:
        found[b"security.capability"] = for_any_namespace(found[b"security.capability"])
    return found


def _is_opaque(descriptor: int) -> bool:
    return OPAQUE in os.listxattr(descriptor) and os.getxattr(descriptor, OPAQUE) == b"y"


def _shown(path: bytes) -> str:
    return repr(path[:200].decode(errors="replace"))
