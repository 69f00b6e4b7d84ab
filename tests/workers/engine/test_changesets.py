"""The canonical form of a layer, as far as it needs no root."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.changesets import layer_pieces, write_layer
from workers.engine.entries import DIRECTORY, FILE, SYMLINK, Header, written
from workers.engine.tar import TarStream
from workers.errors import InvalidArchive


def tar_of(directory: Path, mtime_max: int | None = None) -> bytes:
    return b"".join(layer_pieces(directory, mtime_max))


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


@given(
    st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"\0", b"a")),
    st.sampled_from([FILE, SYMLINK]),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 2),
    st.integers(-(2**32), 2**33),
    st.binary(max_size=300).map(lambda link: link.replace(b"\0", b"b")),
    st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary(max_size=40)),
)
def test_a_header_says_what_it_was_given(
    name: bytes, kind: bytes, mode: int, owner: int, mtime: int, link: bytes, xattrs: dict[bytes, bytes]
) -> None:
    name = name.rstrip(b"/") or b"a"
    header = Header(name, kind, mode, owner, owner, 0, mtime, link if kind == SYMLINK else b"", xattrs)
    data = written(header)
    assert len(data) % 512 == 0
    source = io.BytesIO(data)
    entry = TarStream(source.read).next_entry()
    assert entry is not None
    assert (entry.name, entry.kind, entry.mode, entry.uid, entry.gid) == (name, kind, mode, owner, owner)
    assert (entry.mtime_ns, entry.xattrs) == (mtime * 10**9, xattrs)
    assert entry.link == header.link


def test_a_size_above_eight_gigabytes_is_told() -> None:
    source = io.BytesIO(written(Header(b"big", FILE, size=9 << 33)))
    entry = TarStream(source.read).next_entry()
    assert entry is not None
    assert entry.size == 9 << 33


def test_a_directory_has_a_slash_and_comes_before_what_is_in_it(tmp_path: Path) -> None:
    for name in ("b/z", "b/a/x", "a!", "b!"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    raw = tar_of(tmp_path)
    assert [member.name for member in members(raw)] == ["a!", "b", "b/a", "b/a/x", "b/z", "b!"]
    assert written(Header(b"b/", DIRECTORY))[:3] == raw[1024 : 1024 + 3]


def test_the_order_of_creation_and_the_access_times_change_nothing(tmp_path: Path) -> None:
    for directory, names in ((tmp_path / "1", "abc"), (tmp_path / "2", "cba")):
        directory.mkdir()
        for name in names:
            (directory / name).write_bytes(name.encode() * 1000)
            os.utime(directory / name, ns=(hash(directory) % 10**9, 10**18 + len(names)))
    assert tar_of(tmp_path / "1") == tar_of(tmp_path / "2")


def test_no_time_is_later_than_asked(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "new").touch()
    os.utime(tmp_path / "old", (50, 50.75))
    times = {member.name: member.mtime for member in members(tar_of(tmp_path, 100))}
    assert times == {"old": 50, "new": 100}


def test_pieces_are_large_whatever_the_files(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"{number}").write_bytes(bytes(number))
    seen: list[int] = []
    digest = hashlib.sha256()
    write_layer(tmp_path, lambda piece: (seen.append(len(piece)), digest.update(piece))[1])
    assert max(seen) < 1 << 20
    assert len(seen) < 5
    assert digest.hexdigest() == hashlib.sha256(tar_of(tmp_path)).hexdigest()


@pytest.mark.parametrize("name", [".wh.file", ".wh..wh..opq"])
def test_a_name_that_would_mean_a_deletion_is_refused(tmp_path: Path, name: str) -> None:
    for kind in (Path.touch, Path.mkdir):
        kind(tmp_path / name)
        with pytest.raises(InvalidArchive, match="stand for deletions"):
            tar_of(tmp_path)
        (tmp_path / name).rmdir() if kind is Path.mkdir else (tmp_path / name).unlink()


def test_a_socket_is_left_out_and_a_fifo_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert [member.name for member in members(tar_of(tmp_path))] == ["fifo"]


def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "upper/link").symlink_to("../secret")
    (tmp_path / "upper/dir").symlink_to("/etc")
    data = tar_of(tmp_path / "upper")
    assert b"secret" not in data.replace(b"../secret", b"")
    assert {member.name: member.linkname for member in members(data)} == {"link": "../secret", "dir": "/etc"}
