"""Records survive being written and read; the lock has one holder."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from workers.engine import records
from workers.engine.places import Places
from workers.engine.records import Outcome, Phase, Record, Stopping
from workers.engine.runtime.process import Process, boot_id
from workers.errors import NoSpace
from workers.messages import ContainerSpec, Failure, ProjectSlice, RunContainer

ID = "c" * 64
COMMAND = RunContainer(
    ID,
    generation=4,
    run=2,
    project=ProjectSlice("b" * 32, 1_065_536, "10.87.1.0/24"),
    spec=ContainerSpec("sha256:" + "0" * 64, "b" * 32, "web", "web", command=("a", "ü"), env=("A=1",)),
)
RECORD = Record(
    container=ID,
    phase=Phase.RUNNING,
    generation=3,
    run=2,
    command=COMMAND,
    boot=boot_id(),
    runtime="crun",
    cgroup="/slipway/b/c",
    address="10.87.1.2",
    init=Process(10, 1000),
    shim=Process(9, 999),
    started_at=12.5,
    stopping=Stopping(5, 99.5),
    outcome=Outcome(None, True, 13.5, Failure("X", "why", {"pid": 1})),
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "data", tmp_path / "run")
    found.prepare()
    return found


@pytest.mark.parametrize("record", [RECORD, Record(ID, Phase.REMOVED, 9)])
def test_a_record_reads_back_as_it_was_written(places: Places, record: Record) -> None:
    with records.locked(places, ID):
        records.write(places, record)
    assert records.find(places, ID) == record


def test_a_record_is_for_root_alone(places: Places) -> None:
    with records.locked(places, ID):
        records.write(places, RECORD)
    assert places.record(ID).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "\0" * 100, "{}", '{"phase": "running"', '{"command": null, "phase": 1}']
)
def test_a_record_torn_by_a_power_loss_reads_as_missing(places: Places, text: str) -> None:
    with records.locked(places, ID):
        places.record(ID).write_text(text)
    assert records.find(places, ID) is None


def test_a_start_is_announced_once_its_generation_is_reached() -> None:
    assert not RECORD.announced
    assert replace(RECORD, generation=4).announced
    assert replace(RECORD, command=None).announced


def test_a_tombstone_covers_every_generation() -> None:
    assert Record(ID, Phase.REMOVED, 9).covers(1000)
    assert RECORD.covers(3)
    assert not RECORD.covers(4)


def test_a_record_of_another_boot_is_lost() -> None:
    assert not RECORD.lost
    assert replace(RECORD, boot="other").lost


def test_the_lock_has_one_holder_at_a_time(places: Places) -> None:
    entered = threading.Event()

    def contender() -> None:
        with records.locked(places, ID):
            entered.set()

    thread = threading.Thread(target=contender)
    with records.locked(places, ID):
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()


def test_whoever_waited_for_a_forgotten_container_locks_a_new_file(places: Places) -> None:
    held: list[bool] = []

    def contender() -> None:
        with records.locked(places, ID):
            held.append(places.lock(ID).exists())

    thread = threading.Thread(target=contender)
    with records.locked(places, ID):
        thread.start()
        records.forget(places, ID)
    thread.join()
    assert held == [True]


def test_containers_are_listed_by_their_directories(places: Places) -> None:
    assert records.containers(places) == []
    for each in ("b" * 64, "a" * 64):
        with records.locked(places, each):
            pass
    assert records.containers(places) == ["a" * 64, "b" * 64]


def test_a_disk_that_takes_only_a_part_leaves_the_record_before(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an almost full one does: a part is taken without complaint, the rest is refused."""
    taken: list[int] = []

    def write(fd: int, data: bytes) -> int:
        if taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(os_write(fd, data[:10]))
        return taken[0]

    with records.locked(places, ID):
        records.write(places, RECORD)
        os_write = os.write
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(NoSpace, match="No space left on the disk"):
            records.write(places, replace(RECORD, generation=4))
    assert records.find(places, ID) == RECORD
