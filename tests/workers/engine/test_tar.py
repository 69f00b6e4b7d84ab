from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archives import DIRECTORY, SYMLINK, E, tar
from workers.engine.tar import BadTar, TarStream, shown


def reader(data: bytes, step: int = 1 << 20) -> Callable[[int], bytes]:
    """Hands out ``step`` bytes at a time, as a pipe may."""
    file = io.BytesIO(data)
    return lambda _: file.read(step)


def read(data: bytes, step: int = 1 << 20, *, strict: bool = True) -> list[tuple[bytes, bytes, bytes]]:
    stream = TarStream(reader(data, step), strict=strict)
    entries = []
    while (entry := stream.next_entry()) is not None:
        entries.append((entry.name, entry.kind, b"".join(bytes(piece) for piece in stream.data())))
    return entries


names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60)


paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(
    st.dictionaries(paths, st.binary(max_size=1500), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 511, 512, 4096, 1 << 20]),
)
def test_what_python_writes_is_read_the_same(files: dict[str, bytes], form: int, step: int) -> None:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    expected = [(name.encode(), b"0", data) for name, data in files.items()]
    assert read(out.getvalue(), step) == expected


@given(st.binary(max_size=3000))
def test_rubbish_ends_in_the_right_error(data: bytes) -> None:
    with pytest.raises(BadTar):
        read(data)


@given(st.integers(0, 511), st.integers(0, 255))
def test_a_damaged_header_is_noticed_or_was_the_same(position: int, value: int) -> None:
    data = bytearray(tar([E("file", b"x")]))
    original, data[position] = data[position], value
    if original == value:
        assert read(bytes(data))[0][0] == b"file"
        return
    # The checksum itself may be spelled in more than one way.
    spelling = 148 <= position < 156
    with contextlib.suppress(BadTar) if spelling else pytest.raises(BadTar):
        read(bytes(data))


@pytest.mark.parametrize("cut", [100, 512, 700, 1024, 1500])
def test_a_cut_is_noticed(cut: int) -> None:
    with pytest.raises(BadTar, match="cut off"):
        read(tar([E("a", b"x"), E("b", b"y" * 600)])[:cut])


def test_an_archive_without_its_end_mark_passes_only_where_a_digest_vouches_for_it() -> None:
    data = tar([E("a", b"x")], end=False)
    assert read(data, strict=False) == [(b"a", b"0", b"x")]
    with pytest.raises(BadTar, match="cut off after 'a'"):
        read(data)


def test_no_bytes_at_all_are_no_archive() -> None:
    with pytest.raises(BadTar, match="its beginning"):
        read(b"", strict=False)


def test_links_and_directories_have_no_data() -> None:
    data = tar([E("d/", kind=DIRECTORY), E("l", kind=SYMLINK, link="d")])
    assert read(data) == [(b"d/", b"5", b""), (b"l", b"2", b"")]


def test_unread_data_is_skipped() -> None:
    stream = TarStream(reader(tar([E("a", b"x" * 5000), E("b")]), 100))
    assert [entry.name for entry in iter(stream.next_entry, None)] == [b"a", b"b"]


def test_the_offset_tells_where_data_begins() -> None:
    data = tar([E("a" * 150, b"long name"), E("b", b"data")])
    stream = TarStream(reader(data, 777))
    while (entry := stream.next_entry()) is not None:
        content = b"long name" if entry.name != b"b" else b"data"
        assert data[stream.offset : stream.offset + entry.size] == content


def test_extended_headers_carry_times_owners_and_attributes() -> None:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("file")
        info.mtime, info.uid, info.gid = 1234.5, 3_000_000, 4_000_000
        info.pax_headers = {"SCHILY.xattr.user.a": "b", "comment": "none of ours"}
        archive.addfile(info)
    entry = TarStream(reader(out.getvalue())).next_entry()
    assert entry is not None
    assert (entry.mtime_ns, entry.uid, entry.gid) == (1_234_500_000_000, 3_000_000, 4_000_000)
    assert entry.xattrs == {b"user.a": b"b"}


def test_sparse_files_are_refused_by_name() -> None:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("holes")
        info.pax_headers = {"GNU.sparse.major": "1"}
        archive.addfile(info)
    with pytest.raises(BadTar, match="'holes': sparse"):
        read(out.getvalue())


def test_an_extended_header_cannot_claim_the_memory() -> None:
    info = tarfile.TarInfo("PaxHeader")
    info.type, info.size = b"x", 1 << 40
    with pytest.raises(BadTar, match="claims 1099511627776 bytes"):
        read(info.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_many_extended_headers_cannot_claim_the_memory_either(kind: bytes) -> None:
    step = 0

    def endless(count: int) -> bytes:
        nonlocal step
        step += 1
        record = b"%d %06d=%s\n" % (60_000, step, b"x" * (60_000 - 14))
        info = tarfile.TarInfo("PaxHeader")
        info.type, info.size = kind, len(record)
        return info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % 512)

    with pytest.raises(BadTar, match="too many extended headers"):
        TarStream(endless).next_entry()
    assert step < 50


@pytest.mark.parametrize("record", ["SCHILY.xattr.user.a\0b", "linkpath"])
def test_a_name_with_a_nul_is_refused(record: str) -> None:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("file")
        info.type = tarfile.SYMTYPE
        info.pax_headers = {record: "a\0b"}
        archive.addfile(info)
    with pytest.raises(BadTar, match="'file': no valid"):
        read(out.getvalue())


def test_names_are_shown_without_control_characters() -> None:
    assert shown(b"a\n\x1b[31m\xff") == r"'a\x0a\x1b[31m\xff'"
