"""Pieces of a log by plain requests: what the pane reads without the socket, and what came before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slipway.console.views import logs
from slipway.nodes.agent import LogEntry

LINE = "2026-11-20T10:00:00.000000000+00:00 stdout F line {}\n"
LINES = [LINE.format(number) for number in range(100)]
LOG = "".join(LINES)


async def read_from(position: int) -> AsyncIterator[LogEntry]:
    """As a node reads: from any byte on, taking the rest of a line for a line if it looks like one."""
    at = position
    for line in LOG[position:].splitlines(keepends=True):
        parts = line[:-1].split(" ", 3)
        if len(parts) == 4 and parts[1] == "stdout":
            yield LogEntry(at, at + len(line), parts[0], parts[1], parts[3], whole=True)
        at += len(line)


@pytest.mark.parametrize("step", [97, 150, 211, 1000, 10_000])
async def test_going_up_step_by_step_reads_every_line_once(step: int) -> None:
    before = len(LOG)
    read: list[LogEntry] = []
    while before > 0:
        start = max(0, before - step)
        found = await logs.take_before(read_from(start), start, before)
        assert found, "a step that is longer than a line gets further"
        read = found + read
        before = found[0].position

    assert [entry.text for entry in read] == [f"line {number}" for number in range(100)]
    assert [entry.next for entry in read[:-1]] == [entry.position for entry in read[1:]]


async def test_a_plain_request_answers_so_many_lines_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINES_MAX", 7)

    assert [entry.text for entry in await logs.take(read_from(0))] == [
        f"line {number}" for number in range(7)
    ]
