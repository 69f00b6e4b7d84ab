"""Uploads: one blob, kept for exactly as long as somebody wants it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from workers.content import DirectoryContent
from workers.oci.digest import Digest
from workers.uploads import FORGOTTEN, Uploads


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    (tmp_path / "uploads").mkdir()
    return Uploads(tmp_path / "uploads", DirectoryContent(tmp_path / "content"))


def upload(uploads: Uploads, data: bytes) -> Digest:
    with uploads.content.begin() as writer:
        writer.write(data)
        return uploads.keep(writer)


def test_an_upload_is_gone_after_its_release(uploads: Uploads, tmp_path: Path) -> None:
    digest = upload(uploads, b"archive")
    assert uploads.content.exists(digest)
    uploads.release(digest)
    assert not uploads.content.exists(digest)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_the_same_bytes_uploaded_twice_stay_until_both_are_done_with(uploads: Uploads) -> None:
    digest = upload(uploads, b"archive")
    assert upload(uploads, b"archive") == digest
    uploads.release(digest)
    assert uploads.content.exists(digest)
    uploads.release(digest)
    assert not uploads.content.exists(digest)


def test_releasing_an_unknown_upload_does_nothing(uploads: Uploads) -> None:
    uploads.release(Digest.of(b"nobody uploaded this"))


def test_a_forgotten_upload_is_swept_and_a_fresh_one_is_not(uploads: Uploads, tmp_path: Path) -> None:
    old, fresh = upload(uploads, b"old"), upload(uploads, b"fresh")
    for ticket in (tmp_path / "uploads" / f"sha256-{old.hex}").iterdir():
        os.utime(ticket, (0, time.time() - FORGOTTEN - 1))
    uploads.sweep()
    assert not uploads.content.exists(old)
    assert uploads.content.exists(fresh)
