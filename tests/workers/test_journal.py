"""The journal: gapless, synced, shared by processes that may die at any moment."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.errors import NodeError
from workers.journal import Journal
from workers.messages import JobProgressed, JobStarted, decode_event

WRITER = """
import sys
from pathlib import Path
from workers.journal import Journal
from workers.messages import JobProgressed
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    seq = journal.append(JobProgressed(job=sys.argv[2], detail="x", done=number))
    print(number, seq, flush=True)
    number += 1
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite3")
    yield journal
    journal.close()


def test_numbers_start_at_one_and_survive_trimming_and_reopening(journal: Journal, tmp_path: Path) -> None:
    assert [journal.append(JobStarted("a")) for _ in range(3)] == [1, 2, 3]
    journal.trim(3)
    again = Journal(tmp_path / "journal.sqlite3")
    assert again.append(JobStarted("b")) == 4
    assert [entry.seq for entry in journal.read(0)] == [4]
    assert again.epoch == journal.epoch
    again.close()


def test_read_returns_entries_after_a_seq_in_order_up_to_the_limit(journal: Journal) -> None:
    for number in range(10):
        journal.append(JobProgressed("job", str(number)))
    entries = journal.read(4, limit=3)
    assert [entry.seq for entry in entries] == [5, 6, 7]
    assert decode_event(entries[0].event) == JobProgressed("job", "4")


def test_an_event_that_cannot_be_encoded_takes_no_number(journal: Journal) -> None:
    journal.append(JobStarted("a"))
    with pytest.raises(TypeError):
        journal.append(JobStarted(object()))  # type: ignore[arg-type]
    assert journal.append(JobStarted("b")) == 2


def test_threads_share_one_journal_without_gaps(journal: Journal) -> None:
    def write() -> None:
        for _ in range(25):
            journal.append(JobStarted("a"))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.seq for entry in journal.read(0)] == list(range(1, 101))


def test_writers_killed_at_any_moment_leave_no_gap_and_lose_nothing_they_were_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    confirmed: dict[int, tuple[str, int]] = {}
    for attempt in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(path), f"{attempt}-{number}"],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            for number in range(4)
        ]
        for number, writer in enumerate(writers):
            assert writer.stdout is not None
            for _ in range(random.randint(5, 40)):
                done, seq = map(int, writer.stdout.readline().split())
                confirmed[seq] = (f"{attempt}-{number}", done)
            os.kill(writer.pid, signal.SIGKILL)
        for number, writer in enumerate(writers):
            assert writer.stdout is not None
            for line in writer.stdout.read().decode().splitlines(keepends=True):
                if line.endswith("\n"):
                    done, seq = map(int, line.split())
                    confirmed[seq] = (f"{attempt}-{number}", done)
            writer.wait()
            writer.stdout.close()
    journal = Journal(path)
    entries = journal.read(0, limit=1_000_000)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert journal.last_seq == len(entries)
    for seq, (job, done) in confirmed.items():
        assert decode_event(entries[seq - 1].event) == JobProgressed(job, "x", done=done)
    journal.close()


def test_append_pokes_the_listener_and_does_not_mind_its_absence(tmp_path: Path) -> None:
    poke = tmp_path / "journal.poke"
    journal = Journal(tmp_path / "journal.sqlite3", poke)
    journal.append(JobStarted("nobody listens"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(poke))
        listener.settimeout(5)
        for _ in range(2000):  # far more than the socket's queue holds: append must not block
            journal.append(JobStarted("somebody listens"))
        assert listener.recv(1) == b""
    journal.append(JobStarted("the listener died"))
    assert journal.last_seq == 2002
    journal.close()


def test_a_new_epoch_numbers_what_is_held_from_one(journal: Journal) -> None:
    for number in range(5):
        journal.append(JobProgressed("job", str(number)))
    journal.trim(3)
    before = journal.epoch
    assert journal.renew() == journal.epoch != before
    assert [(entry.seq, decode_event(entry.event)) for entry in journal.read(0)] == [
        (1, JobProgressed("job", "3")),
        (2, JobProgressed("job", "4")),
    ]
    assert journal.append(JobStarted("next")) == 3


def test_a_lost_journal_is_made_anew_under_another_epoch_while_open(journal: Journal, tmp_path: Path) -> None:
    journal.append(JobStarted("a"))
    before = journal.epoch
    for path in tmp_path.iterdir():
        path.unlink()
    assert journal.append(JobStarted("b")) == 1
    assert journal.epoch != before


def test_a_damaged_journal_is_named_with_its_fix(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(NodeError, match=r"journal\.sqlite3 is damaged .* move it away"):
        Journal(path)


def test_a_journal_without_its_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"absent/journal\.sqlite3 cannot be used: No such file"):
        Journal(tmp_path / "absent" / "journal.sqlite3")
