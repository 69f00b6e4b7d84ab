"""Reading tar streams: ustar, pax and GNU headers into entries.

The extractor imports this in a process of its own that must start in milliseconds: nothing but
``os`` and built-in modules may be imported here.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
MAX_NAME = 4095
_MAX_EXTENDED = 1 << 20
_MAX_GLOBAL = 64 << 10
"""Of all headers that hold for the rest of the archive: every entry's are merged with them."""
_MAX_LOCAL = 2 << 20
"""Of all headers of one entry."""
_READ = 1 << 20
_END = bytes(BLOCK)

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_WITHOUT_DATA = (HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)
_PLAIN = {b"\0": FILE, b"7": FILE}
_XATTR = b"SCHILY.xattr."


class BadTar(Exception):
    """The stream is broken or holds what is not taken; the text names the entry."""


class Entry:
    __slots__ = ("gid", "kind", "link", "mode", "mtime_ns", "name", "size", "uid", "xattrs")

    def __init__(self, name: bytes, kind: bytes, link: bytes, size: int) -> None:
        self.name, self.kind, self.link, self.size = name, kind, link, size
        self.mode = self.uid = self.gid = self.mtime_ns = 0
        self.xattrs: dict[bytes, bytes] = {}


class TarStream:
    """Entries in their order. What of an entry's data was not read is skipped by ``next_entry``.

    ``read(n)`` gives up to n bytes and b"" at the end. ``strict`` asks for the mark that ends an
    archive: without it a tar that was cut off between two entries looks whole. ``passed`` is handed
    every byte of the stream that ``data`` does not give out.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        strict: bool = False,
        passed: Callable[[bytes], None] | None = None,
    ) -> None:
        self._read, self._strict, self._passed = read, strict, passed
        self._buffer, self._at = b"", 0
        self._left = self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._global_bytes = self._local_bytes = 0
        self._last = b""
        self.offset = 0
        """Where in the stream we are: after ``next_entry``, where the entry's data begins."""

    def next_entry(self) -> Entry | None:
        """None at the end of the archive; whatever follows it is left unread."""
        local: dict[bytes, bytes] = {}
        self._local_bytes = 0
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            header = self._header()
            if header is None:
                if local:
                    raise BadTar(f"the archive ends within the headers after {shown(self._last)}")
                return None
            kind = header[156:157]
            if kind in (b"x", b"g"):
                (local if kind == b"x" else self._global).update(_pax_records(self._extended(header)))
            elif kind == b"L":
                local[b"path"] = self._extended(header).partition(b"\0")[0]
            elif kind == b"K":
                local[b"linkpath"] = self._extended(header).partition(b"\0")[0]
            elif kind != b"V":  # a volume's label is no entry
                return self._entry(header, kind, {**self._global, **local} if self._global else local)

    def data(self) -> Iterator[memoryview]:
        """The current entry's data, in pieces."""
        while self._left:
            if self._at == len(self._buffer):
                self._fill()
            piece = memoryview(self._buffer)[self._at : self._at + self._left]
            self._at += len(piece)
            self.offset += len(piece)
            self._left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read the stream to its end."""
        rest, self._buffer, self._at = self._buffer[self._at :], b"", 0
        if rest and self._passed is not None:
            self._passed(rest)
        while piece := self._read(_READ):
            if self._passed is not None:
                self._passed(piece)

    # ------------------------------------------------------------------ bytes

    def _fill(self) -> None:
        self._buffer, self._at = self._read(_READ), 0
        if not self._buffer:
            raise BadTar(f"the archive is cut off in or after {shown(self._last)}")

    def _take(self, count: int) -> bytes:
        piece = self._buffer[self._at : self._at + count]
        self._at += len(piece)
        while len(piece) < count:
            self._fill()
            more = self._buffer[: count - len(piece)]
            self._at = len(more)
            piece += more
        self.offset += count
        if self._passed is not None:
            self._passed(piece)
        return piece

    def _skip(self, count: int) -> None:
        self.offset += count
        while count:
            if self._at == len(self._buffer):
                self._fill()
            step = min(count, len(self._buffer) - self._at)
            if self._passed is not None:
                self._passed(self._buffer[self._at : self._at + step])
            self._at += step
            count -= step

    # ------------------------------------------------------------------ headers

    def _header(self) -> bytes | None:
        if self._at == len(self._buffer):
            self._buffer, self._at = self._read(_READ), 0
            if not self._buffer:
                if self._strict or not self.offset:
                    raise BadTar(f"the archive is cut off after {shown(self._last)}")
                return None
        header = self._take(BLOCK)
        if header == _END:
            return None
        try:
            stated = _octal(header[148:156], "checksum")
        except BadTar:
            stated = -1
        if stated not in _checksums(header):
            raise BadTar(f"no valid tar header where one was expected, after {shown(self._last)}")
        return header

    def _extended(self, header: bytes) -> bytes:
        size = _octal(header[124:136], "size")
        if not 0 <= size <= _MAX_EXTENDED:
            raise BadTar(f"an extended header after {shown(self._last)} claims {size} bytes")
        # They may follow one another without end.
        if header[156:157] == b"g":
            self._global_bytes += size
        else:
            self._local_bytes += size
        if self._global_bytes > _MAX_GLOBAL or self._local_bytes > _MAX_LOCAL:
            raise BadTar(f"too many extended headers after {shown(self._last)}")
        return self._take(size + -size % BLOCK)[:size]

    def _entry(self, header: bytes, kind: bytes, extended: dict[bytes, bytes]) -> Entry:
        name = extended.get(b"path") or _name(header)
        self._last = name
        if b"\0" in name or len(name) > MAX_NAME:
            raise BadTar(f"{shown(name)}: no valid file name")
        kind = _PLAIN.get(kind, kind)
        if kind == FILE and name.endswith(b"/"):
            kind = DIRECTORY  # as tars older than the type said it
        if kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in extended):
            raise BadTar(f"{shown(name)}: sparse entries are not taken; archive without --sparse")
        size = 0
        if kind not in _WITHOUT_DATA:
            size = (
                _decimal(extended, b"size", name) if b"size" in extended else _octal(header[124:136], "size")
            )
        if size < 0:
            raise BadTar(f"{shown(name)}: negative size")
        self._left, self._padding = size, -size % BLOCK
        link = extended.get(b"linkpath") or _text(header[157:257])
        if b"\0" in link:
            raise BadTar(f"{shown(name)}: no valid link target")
        entry = Entry(name, kind, link, size)
        _fill_attributes(entry, header, extended)
        return entry


def shown(name: bytes) -> str:
    """A name from an archive, fit for people and logs."""
    if not name:
        return "its beginning"
    text = name[:200].decode("utf-8", "backslashreplace")
    return "'" + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) + "'"


def read_descriptor(descriptor: int) -> Callable[[int], bytes]:
    return lambda count: os.read(descriptor, count)


def _fill_attributes(entry: Entry, header: bytes, extended: dict[bytes, bytes]) -> None:
    entry.mode = _octal(header[100:108], "mode") & 0o7777
    entry.uid, entry.gid = (
        _decimal(extended, key, entry.name) if key in extended else _octal(field, "owner")
        for key, field in ((b"uid", header[108:116]), (b"gid", header[116:124]))
    )
    if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
        raise BadTar(f"{shown(entry.name)}: owner {entry.uid}:{entry.gid} is out of range")
    if b"mtime" in extended:
        entry.mtime_ns = _nanoseconds(extended[b"mtime"], entry.name)
    else:
        entry.mtime_ns = _clamped(_octal(header[136:148], "time") * 1_000_000_000)
    if extended:
        entry.xattrs = {
            key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)
        }
        if any(b"\0" in key for key in entry.xattrs):
            raise BadTar(f"{shown(entry.name)}: no valid name of an attribute")


def _checksums(header: bytes) -> tuple[int, int]:
    """Of bytes taken as unsigned, and as signed, as some old programs did."""
    rest = header[:148] + b" " * 8 + header[156:]
    total = sum(rest)
    if rest.isascii():
        return total, total
    return total, total - 256 * sum(byte > 127 for byte in rest)


def _octal(field: bytes, what: str) -> int:
    if field[0] & 0x80:  # GNU's base 256, two's complement
        value = int.from_bytes(field, "big")
        return value - (1 << 8 * len(field)) if field[0] == 0xFF else value - (0x80 << 8 * (len(field) - 1))
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise BadTar(f"a header's {what} is no number: {digits!r}") from None


def _decimal(extended: dict[bytes, bytes], key: bytes, name: bytes) -> int:
    try:
        return int(extended[key])
    except ValueError:
        raise BadTar(f"{shown(name)}: the extended header's {key.decode()} is no number") from None


def _nanoseconds(value: bytes, name: bytes) -> int:
    whole, _, fraction = value.partition(b".")
    try:
        seconds = int(whole)
        part = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    except ValueError:
        raise BadTar(f"{shown(name)}: the extended header's mtime is no number") from None
    return _clamped(seconds * 1_000_000_000 + (-part if whole.startswith(b"-") else part))


def _clamped(nanoseconds: int) -> int:
    """Within what a 64-bit file time takes."""
    return max(-(1 << 62), min(nanoseconds, (1 << 63) - 1))


def _name(header: bytes) -> bytes:
    name = _text(header[:100])
    # Only POSIX archives have a prefix there; GNU ones keep other things in its place.
    if header[257:263] == b"ustar\0" and header[345]:
        return _text(header[345:500]) + b"/" + name
    return name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = int(data[at:space]) if space > at and data[at:space].isdigit() else 0
        key, equals, value = data[space + 1 : at + length - 1].partition(b"=")
        if length <= space - at + 1 or data[at + length - 1 : at + length] != b"\n" or not equals:
            raise BadTar("an extended header is broken")
        records[key] = value
        at += length
    return records
