"""The journal on a disk that is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.errors import NoSpace
from workers.journal import Journal
from workers.messages import JobProgressed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(journal: Journal) -> None:
    for number in range(10_000):
        assert journal.append(JobProgressed("job", "x" * 500, done=number)) == number + 1


def test_a_full_disk_is_named_and_numbers_go_on_without_a_gap_once_there_is_space(small_disk: Path) -> None:
    journal = Journal(small_disk / "journal.sqlite3")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    with pytest.raises(NoSpace, match=r"No space for the journal .*journal\.sqlite3"):
        fill(journal)
    written = journal.last_seq
    assert written > 0
    ballast.unlink()
    assert journal.append(JobProgressed("job", "there is space again")) == written + 1
    assert [entry.seq for entry in journal.read(0, limit=10_000)] == list(range(1, written + 2))
    journal.close()
