"""Tars that builds give out: written once, ended at any moment, never larger than allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from workers.content import DirectoryContent
from workers.errors import BuildExceeded
from workers.oci.digest import Digest
from workers.tasks import outputs
from workers.uploads import Uploads


class Ended(Exception):
    pass


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    (tmp_path / "uploads").mkdir()
    return Uploads(tmp_path / "uploads", DirectoryContent(tmp_path / "content"))


def held(uploads: Uploads) -> int:
    return sum(path.stat().st_size for path in uploads.content.root.rglob("*") if path.is_file())


def writing(count: int, seen: Callable[[], None] = lambda: None) -> Callable[[BinaryIO], None]:
    def write(target: BinaryIO) -> None:
        for _ in range(count):
            target.write(bytes(1 << 16))
            seen()

    return write


def test_it_lies_on_the_disk_once_and_is_an_upload(uploads: Uploads) -> None:
    sizes: list[int] = []
    digest = Digest.parse(
        outputs.keep(uploads, writing(8, lambda: sizes.append(held(uploads))), lambda: None, 1 << 20)
    )
    assert max(sizes) <= 8 << 16
    assert uploads.content.size(digest) == held(uploads) == 8 << 16
    uploads.release(digest)
    assert held(uploads) == 0


def test_it_ends_when_the_build_does_and_nothing_is_left(uploads: Uploads) -> None:
    left = iter(range(3))

    def check() -> None:
        if next(left, None) is None:
            raise Ended

    with pytest.raises(Ended):
        outputs.keep(uploads, writing(8), check, None)
    assert held(uploads) == 0


def test_it_is_no_larger_than_the_project_has_room(uploads: Uploads) -> None:
    with pytest.raises(BuildExceeded) as caught:
        outputs.keep(uploads, writing(8), lambda: None, 7 << 16)
    assert caught.value.facts == {"limit": "disk"}
    assert held(uploads) == 0
