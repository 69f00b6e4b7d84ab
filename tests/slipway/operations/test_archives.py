from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from slipway.operations import archives
from slipway.operations.archives import Facts, Member
from slipway.operations.errors import BackupInvalid, CannotBackUp

FACTS = Facts(
    "1.0", 1, "2026-11-20T12:00:00+00:00", "sqlite", {"nodes": ["0001_initial"]}, {}, False, ["logs"]
)
SECRET = b"a secret of more than fifty characters, or nearly so"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    target = tmp_path / "slipway.tar.zst"
    with archives.writing(target) as writer:
        writer.add("platform/keys/django", io.BytesIO(SECRET), len(SECRET))
        writer.add("platform/db.sqlite3", io.BytesIO(b"rows" * 1000), 4000)
        writer.finish(FACTS)
    return target


def forged(target: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A file that no ``Writer`` makes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member, body in members:
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    target.write_bytes(zstandard.compress(plain.getvalue()))
    return target


def test_what_went_in_comes_out_for_its_owner_alone(backup: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    manifest = archives.unpack(backup, tmp_path / "out")
    assert manifest.facts == FACTS
    assert manifest.members["platform/db.sqlite3"].size == 4000
    key = tmp_path / "out/platform/keys/django"
    assert key.read_bytes() == SECRET
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_a_backup_that_exists_is_never_written_over(backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(CannotBackUp, match="exists already"), archives.writing(backup):
        pass
    assert backup.read_bytes() == before


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with archives.writing(tmp_path / "b") as writer:
            writer.add("platform/keys/django", io.BytesIO(SECRET), len(SECRET))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["platform/../../etc/shadow", "/etc/shadow", "node/journal.sqlite3", "platform/keys/"]
)
def test_a_name_with_no_place_goes_neither_in_nor_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotBackUp), archives.writing(tmp_path / "b") as writer:
        writer.add(name, io.BytesIO(b""), 0)
    with pytest.raises(BackupInvalid, match="no backup does"):
        archives.unpack(forged(tmp_path / "f", (tarfile.TarInfo(name), b"x")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("platform/keys/django")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    with pytest.raises(BackupInvalid):
        archives.unpack(forged(tmp_path / "f", (link, b"")), tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_that_was_cut_off_is_refused(backup: Path, tmp_path: Path, share: float) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BackupInvalid):
        archives.unpack(backup, tmp_path / "out")


def test_a_file_with_a_changed_byte_is_refused(backup: Path, tmp_path: Path) -> None:
    whole = bytearray(backup.read_bytes())
    whole[len(whole) // 2] ^= 1
    backup.write_bytes(whole)
    with pytest.raises(BackupInvalid):
        archives.unpack(backup, tmp_path / "out")


def test_members_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    def packed(body: bytes, members: dict[str, Member]) -> Path:
        facts = {name: getattr(FACTS, name) for name in Facts.__dataclass_fields__}
        promised = {name: {"size": each.size, "sha256": each.sha256} for name, each in members.items()}
        manifest = json.dumps({"facts": facts, "members": promised}).encode()
        key = tarfile.TarInfo("platform/keys/django")
        return forged(tmp_path / "f", (key, body), (tarfile.TarInfo("manifest.json"), manifest))

    right = Member(len(SECRET), "0" * 64)
    with pytest.raises(BackupInvalid, match="is not what the manifest says"):
        archives.unpack(packed(SECRET, {"platform/keys/django": right}), tmp_path / "1")
    with pytest.raises(BackupInvalid, match="is not what the manifest says"):
        archives.unpack(packed(SECRET, {}), tmp_path / "2")
    with pytest.raises(BackupInvalid, match="lacks node/keys/node"):
        archives.unpack(packed(SECRET, {"node/keys/node": right}), tmp_path / "3")


def test_something_else_altogether_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"this is no backup")
    with pytest.raises(BackupInvalid, match="no backup of Slipway"):
        archives.unpack(tmp_path / "f", tmp_path / "out")
