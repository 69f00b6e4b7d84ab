"""Log segments: positions never change, whatever is rotated or dropped, and whenever one reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.engine import logs

TIME = "2026-01-02T03:04:05.000000006+00:00"


def line(text: str, *, stream: str = "stdout", flag: str = "F") -> bytes:
    return f"{TIME} {stream} {flag} {text}\n".encode()


class Writer:
    """Does what conmon does: appends to the file it has open until it is told to reopen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written = b""
        self.file = self._open()

    def _open(self) -> FileIO:
        return FileIO(self.directory / logs.ACTIVE, "ab")

    def close(self) -> None:
        self.file.close()

    def reopen(self) -> None:
        self.file.close()
        self.file = self._open()

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.written += data


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with closing(Writer(tmp_path)) as writer:
        yield writer


def everything(directory: Path, position: int = 0, limit: int = 1 << 20) -> list[logs.Entry]:
    entries: list[logs.Entry] = []
    while True:
        chunk = logs.read(directory, position, limit_bytes=limit)
        entries += chunk.entries
        if chunk.next == position:
            return entries
        position = chunk.next


def test_an_entry_has_its_parts(writer: Writer) -> None:
    writer.write(line("héllo  world", stream="stderr"))
    chunk = logs.read(writer.directory, 0)
    size = len(writer.written)
    assert chunk == logs.Chunk((logs.Entry(0, size, TIME, "stderr", "héllo  world", True),), size, False)


def test_a_cut_line_is_flagged(writer: Writer) -> None:
    writer.write(line("first half", flag="P") + line("second half"))
    assert [entry.whole for entry in everything(writer.directory)] == [False, True]


def test_carriage_returns_and_empty_lines_are_text(writer: Writer) -> None:
    writer.write(line("10%\r20%\r") + line("") + line("\x0b\x1c"))
    assert [entry.text for entry in everything(writer.directory)] == ["10%\r20%\r", "", "\x0b\x1c"]


def test_half_a_line_waits_for_its_other_half(writer: Writer) -> None:
    whole = line("complete")
    writer.write(whole + whole[:20])
    chunk = logs.read(writer.directory, 0)
    assert (len(chunk.entries), chunk.next) == (1, len(whole))
    writer.write(whole[20:])
    assert len(logs.read(writer.directory, chunk.next).entries) == 1


def test_no_log_reads_as_nothing(tmp_path: Path) -> None:
    assert logs.read(tmp_path / "missing", 0) == logs.Chunk((), 0, False)
    assert logs.tail_position(tmp_path / "missing", 10) == 0
    assert logs.end_position(tmp_path) == 0


def test_a_position_past_the_end_reads_nothing_and_stays(writer: Writer) -> None:
    writer.write(line("x"))
    assert logs.read(writer.directory, 10_000) == logs.Chunk((), 10_000, False)


def test_the_limit_ends_a_chunk_but_never_returns_nothing(writer: Writer) -> None:
    writer.write(line("x" * 5000) + line("y"))
    chunk = logs.read(writer.directory, 0, limit_bytes=10)
    assert len(chunk.entries) == 1
    assert chunk.more


def test_positions_go_on_over_a_rotation(writer: Writer) -> None:
    writer.write(line("before"))
    logs.rotate(writer.directory, writer.reopen)
    writer.write(line("after"))
    before, after = everything(writer.directory)
    assert (before.text, after.text) == ("before", "after")
    assert before.next == after.position
    assert logs.read(writer.directory, after.position).entries == (after,)


def test_what_is_written_between_rename_and_reopening_belongs_to_the_old_segment(writer: Writer) -> None:
    writer.write(line("one"))
    logs.rotate(writer.directory, lambda: None)
    assert [entry.text for entry in everything(writer.directory)] == ["one"]
    writer.write(line("two"))
    assert [entry.text for entry in everything(writer.directory)] == ["one", "two"]
    logs.rotate(writer.directory, lambda: None)  # the writer has not followed yet: nothing to rename
    writer.reopen()
    writer.write(line("three"))
    entries = everything(writer.directory)
    assert [entry.text for entry in entries] == ["one", "two", "three"]
    assert entries[-1].next == len(writer.written)


def test_old_segments_are_dropped_and_their_positions_read_from_the_first_kept(writer: Writer) -> None:
    for number in range(6):
        writer.write(line(f"segment {number}"))
        logs.rotate(writer.directory, writer.reopen, keep=2)
    writer.write(line("active"))
    entries = everything(writer.directory, 0)
    assert [entry.text for entry in entries] == ["segment 4", "segment 5", "active"]
    assert entries[0].position == logs.first_position(writer.directory) == 4 * len(line("segment 0"))
    assert entries[-1].next == logs.end_position(writer.directory) == len(writer.written)


def test_a_fast_writer_does_not_keep_more_than_its_share_of_the_disk(writer: Writer) -> None:
    for size in (10, 10, 1000, 400, 500):
        writer.write(line("x" * size))
        logs.rotate(writer.directory, writer.reopen, keep_bytes=1100)
    sizes = [path.stat().st_size for path in sorted(writer.directory.glob("*.log"))]
    assert sizes == [len(line("x" * 400)), len(line("x" * 500)), 0]


def test_a_segment_larger_than_all_that_is_kept_goes_with_the_next_one(writer: Writer) -> None:
    writer.write(line("x" * 5000))
    logs.rotate(writer.directory, writer.reopen, keep_bytes=100)
    assert len(everything(writer.directory)) == 1
    writer.write(line("y"))
    logs.rotate(writer.directory, writer.reopen, keep_bytes=100)
    assert [entry.text for entry in everything(writer.directory)] == ["y"]


def test_at_least_one_old_segment_is_kept_to_tell_where_the_active_one_starts(writer: Writer) -> None:
    for _ in range(3):
        writer.write(line("x"))
        logs.rotate(writer.directory, writer.reopen, keep=0)
    writer.write(line("last"))
    assert everything(writer.directory)[-1].next == len(writer.written)


def test_a_torn_end_of_a_finished_segment_is_skipped(writer: Writer) -> None:
    writer.write(line("good") + b"2026 torn")
    logs.rotate(writer.directory, writer.reopen)
    writer.write(line("next"))
    assert [entry.text for entry in everything(writer.directory)] == ["good", "next"]


def test_rotation_is_due_at_its_size(writer: Writer) -> None:
    writer.write(line("x"))
    assert not logs.is_due(writer.directory)
    assert logs.is_due(writer.directory, 10)


@pytest.mark.parametrize(("lines", "expected"), [(0, 0), (1, 1), (3, 3), (100, 10)])
def test_the_tail_counts_lines_over_segments(writer: Writer, lines: int, expected: int) -> None:
    for number in range(10):
        writer.write(line(f"{number}"))
        if number % 4 == 3:
            logs.rotate(writer.directory, writer.reopen)
    tail = everything(writer.directory, logs.tail_position(writer.directory, lines))
    assert [entry.text for entry in tail] == [str(number) for number in range(10 - expected, 10)]


def test_the_tail_counts_a_cut_line_once(writer: Writer) -> None:
    writer.write(line("one") + line("two, ", flag="P") + line("still two") + line("three"))
    tail = everything(writer.directory, logs.tail_position(writer.directory, 2))
    assert [entry.text for entry in tail] == ["two, ", "still two", "three"]


def test_the_tail_of_a_long_log_is_found_block_by_block(writer: Writer) -> None:
    for number in range(3000):
        writer.write(line(f"{number} " + "x" * (number % 300)))
    tail = everything(writer.directory, logs.tail_position(writer.directory, 2500))
    assert [entry.text.split()[0] for entry in tail] == [str(number) for number in range(500, 3000)]


texts = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=40)
steps = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=40).map(
            lambda text: ("write", text)
        ),
        st.just(("rotate", "")),
        st.just(("rename", "")),
        st.just(("reopen", "")),
    ),
    max_size=30,
)


@given(steps=steps, limit=st.integers(1, 200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_line_is_read_once_at_its_own_offset(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]], limit: int
) -> None:
    writer = Writer(tmp_path_factory.mktemp("log"))
    for action, text in steps:
        if action == "write":
            writer.write(line(text))
        elif action == "rotate":
            logs.rotate(writer.directory, writer.reopen, keep=100)
        elif action == "rename":
            logs.rotate(writer.directory, lambda: None, keep=100)
        elif not (writer.directory / logs.ACTIVE).exists():
            writer.reopen()
    entries = everything(writer.directory, limit=limit)
    for entry in entries:
        assert writer.written[entry.position : entry.next] == line(entry.text)
    assert sum(entry.next - entry.position for entry in entries) == len(writer.written)
    writer.close()


def test_a_follower_misses_and_doubles_nothing_while_segments_move(writer: Writer) -> None:
    count = 4000

    def produce() -> None:
        for number in range(count):
            writer.write(line(str(number)))
            if number % 97 == 0:
                logs.rotate(writer.directory, writer.reopen, keep=1000)

    thread = threading.Thread(target=produce)
    thread.start()
    texts: list[str] = []
    position = 0
    while len(texts) < count:
        alive = thread.is_alive()
        chunk = logs.read(writer.directory, position, limit_bytes=500)
        texts += [entry.text for entry in chunk.entries]
        if not alive and chunk.next == position:
            break
        position = chunk.next
    thread.join()
    assert texts == [str(number) for number in range(count)]
