"""Logs of our own work read as a container's do, whatever happens to whoever writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.engine import logs
from workers.engine.logwriting import LogWriter, is_open


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


def texts(directory: Path) -> list[str]:
    return [entry.text for entry in logs.read(directory, 0).entries]


def test_lines_have_a_time_a_stream_and_a_position(directory: Path) -> None:
    written = LogWriter(directory, clock=lambda: 1.5)
    written.write("one\ntwo\n")
    written.write("wrong", "3:stderr")
    entries = logs.read(directory, 0).entries
    assert [(each.text, each.stream, each.whole) for each in entries] == [
        ("one", "stdout", True),
        ("two", "stdout", True),
        ("wrong", "3:stderr", True),
    ]
    assert entries[0].time == "1970-01-01T00:00:01.500000+00:00"
    assert logs.read(directory, entries[0].next).entries == entries[1:]


def test_a_long_line_is_cut_and_marked(directory: Path) -> None:
    LogWriter(directory).write("x" * 20_000)
    entries = logs.read(directory, 0).entries
    assert [each.whole for each in entries] == [False, False, True]
    assert "".join(each.text for each in entries) == "x" * 20_000


def test_it_is_open_until_it_is_closed_and_again_once_somebody_goes_on(directory: Path) -> None:
    with LogWriter(directory) as written:
        assert is_open(directory)
        written.write("first")
    assert not is_open(directory)
    written.write("lost: nobody expects it")
    with LogWriter(directory) as written:
        assert is_open(directory)
        written.write("second")
    assert texts(directory) == ["first", "second"]


def test_a_line_torn_by_a_kill_costs_that_line_only(directory: Path) -> None:
    LogWriter(directory).write("first")
    with (directory / logs.ACTIVE).open("ab") as file:
        file.write(b"2026-01-01T00:00:00+00:00 stdo")
    LogWriter(directory).write("second")
    assert texts(directory) == ["first", "second"]


def test_old_segments_go_and_positions_stay(directory: Path) -> None:
    written = LogWriter(directory, segment_bytes=1000, keep=2)
    for number in range(200):
        written.write(f"line {number}")
    first = logs.first_position(directory)
    assert first > 0
    entries = logs.read(directory, 0).entries
    assert entries[0].position == first
    assert entries[-1].text == "line 199"
    assert len(list(directory.iterdir())) == 3
    assert logs.read(directory, entries[5].position).entries[0] == entries[5]


def test_a_log_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with LogWriter(tmp_path / "file" / "log") as written:
        written.write("into the void")
