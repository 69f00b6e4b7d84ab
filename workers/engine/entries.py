"""Tar headers in the one form that layers made here have: ustar, with pax records for what it cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, field

FILE, LINK, SYMLINK, DIRECTORY, FIFO = b"0", b"1", b"2", b"5", b"6"
_NAME_BYTES = 100
_MAX_OWNER = 0o7777777
_MAX_LONG = 0o77777777777
_PAX = b"PaxHeaders/entry"


@dataclass(frozen=True)
class Header:
    name: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def written(header: Header) -> bytes:
    """The blocks before an entry's data. The same header always gives the same bytes."""
    records = _records(header)
    block = _block(
        header.name, header.kind, header.mode, header.uid, header.gid, header.size, header.mtime, header.link
    )
    if not records:
        return block
    data = b"".join(_record(key, value) for key, value in records)
    return _block(_PAX, b"x", 0, 0, 0, len(data), 0, b"") + data + bytes(-len(data) % 512) + block


def _records(header: Header) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    if len(header.name) > _NAME_BYTES:
        found.append((b"path", header.name))
    if len(header.link) > _NAME_BYTES:
        found.append((b"linkpath", header.link))
    for key, value, most in (
        (b"uid", header.uid, _MAX_OWNER),
        (b"gid", header.gid, _MAX_OWNER),
        (b"size", header.size, _MAX_LONG),
        (b"mtime", header.mtime, _MAX_LONG),
    ):
        if not 0 <= value <= most:
            found.append((key, b"%d" % value))
    return found + [(b"SCHILY.xattr." + name, value) for name, value in sorted(header.xattrs.items())]


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes
) -> bytes:
    head = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        mode,
        uid if uid <= _MAX_OWNER else 0,
        gid if gid <= _MAX_OWNER else 0,
        size if size <= _MAX_LONG else 0,
        mtime if 0 <= mtime <= _MAX_LONG else 0,
    )
    tail = kind + link[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0") + _MAGIC
    # The checksum counts itself as eight spaces.
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail


_MAGIC = b"ustar\0" + b"00" + bytes(247)
"""With no names of owners, no device numbers and no prefix: zeros to the end of the block."""
