from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.content import DirectoryContent, write_durably
from workers.errors import DigestMismatch, NoSpace, NoSuchBlob
from workers.oci.digest import Digest


@pytest.fixture
def content(tmp_path: Path) -> DirectoryContent:
    return DirectoryContent(tmp_path / "content")


def files(content: DirectoryContent) -> list[str]:
    return sorted(path.name for path in content.root.rglob("*") if path.is_file())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=64), max_size=6))
def test_what_was_written_in_pieces_reads_back_whole(content: DirectoryContent, pieces: list[bytes]) -> None:
    with content.begin() as writer:
        for piece in pieces:
            writer.write(piece)
        digest = writer.commit()
    whole = b"".join(pieces)
    assert digest == Digest.of(whole)
    assert content.size(digest) == len(whole)
    with content.open(digest) as blob:
        assert blob.read() == whole


def test_a_blob_with_another_digest_is_refused_and_leaves_nothing(content: DirectoryContent) -> None:
    expected = Digest.of(b"good")
    with pytest.raises(DigestMismatch) as raised:
        content.ingest(io.BytesIO(b"bad"), expected)
    assert raised.value.facts == {"expected": str(expected), "actual": str(Digest.of(b"bad"))}
    assert files(content) == []


def test_an_abandoned_writer_leaves_nothing(content: DirectoryContent) -> None:
    with content.begin() as writer:
        writer.write(b"half")
        assert len(files(content)) == 1
    assert files(content) == []
    with pytest.raises(ValueError, match="aborted"):
        writer.write(b"more")


def test_the_same_blob_twice_is_one(content: DirectoryContent) -> None:
    first, second = content.ingest(io.BytesIO(b"x")), content.ingest(io.BytesIO(b"x"))
    assert first == second
    assert files(content) == [first.hex]


def test_sha512_names_a_blob_too(content: DirectoryContent) -> None:
    digest = content.ingest(io.BytesIO(b"x"), Digest.of(b"x", "sha512"))
    assert content.path(digest).parent.name == "sha512"
    assert content.exists(digest)


def test_an_unknown_blob_is_named(content: DirectoryContent) -> None:
    missing = Digest.of(b"missing")
    for ask in (content.open, content.size):
        with pytest.raises(NoSuchBlob, match=missing.hex):
            ask(missing)
    assert not content.exists(missing)


def test_deleting_is_repeatable_and_readers_keep_what_they_read(content: DirectoryContent) -> None:
    digest = content.ingest(io.BytesIO(b"x"))
    with content.open(digest) as blob:
        content.delete(digest)
        content.delete(digest)
        assert blob.read() == b"x"
    assert files(content) == []


def test_the_sweep_takes_dead_partials_and_spares_living_ones(content: DirectoryContent) -> None:
    (content.root / "ingest" / "dead").write_bytes(b"left by a killed process")
    with content.begin() as writer:
        writer.write(b"alive")
        assert content.sweep_partials() == 1
        digest = writer.commit()
    assert files(content) == [digest.hex]
    assert content.sweep_partials() == 0


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_as_such_and_leaves_nothing(content: DirectoryContent) -> None:
    writer = content.begin()
    real, writer._file = writer._file, FullDisk()
    assert real is not None
    real.close()
    with pytest.raises(NoSpace, match="No space left on the disk") as raised:
        writer.write(b"x")
    assert isinstance(raised.value.facts["free_bytes"], int)
    assert files(content) == []


def test_a_durable_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_durably(path, b"old and longer")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
