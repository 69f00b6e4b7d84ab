"""What is told of a running build's steps: what changed, in short parts."""

from __future__ import annotations

import pytest

from workers.engine.build.progress import (
    TEXT_MAX,
    TOLD_AT_ONCE,
    TOLD_BYTES,
    Progress,
    Told,
    shown_bytes,
)
from workers.engine.build.watching import LineWatcher
from workers.messages import BuildProgressed, LayerProgress, encode


def told_of(steps: int, name: str) -> tuple[Progress, list[Told]]:
    told: list[Told] = []
    progress = Progress(told.append)
    for number in range(steps):
        progress.add(f"[{number}] {name}")
    progress.flush(now=True)
    return progress, told


def test_only_what_changed_is_told_and_the_first_telling_says_that_it_is() -> None:
    progress, told = told_of(3, "RUN true")
    assert [(len(each.steps), each.total, each.fresh) for each in told] == [(3, 3, True)]
    progress.begin(2)
    progress.end(2, "cached")
    progress.flush(now=True)
    assert [[step.id for step in each.steps] for each in told[1:]] == [[2]]
    assert (told[1].steps[0].state, told[1].fresh) == ("cached", False)
    progress.flush(now=True)
    assert len(told) == 2


def test_thousands_of_steps_are_told_in_short_parts() -> None:
    progress, told = told_of(3990, "RUN " + "x" * 1100)
    assert sum(len(each.steps) for each in told) == 3990
    assert [each.fresh for each in told] == [True] + [False] * (len(told) - 1)
    sizes = [len(encode(BuildProgressed("j", "b", 1, each.steps, each.total, each.fresh))) for each in told]
    assert max(sizes) < TOLD_BYTES + 2 * TEXT_MAX
    assert max(len(each.steps) for each in told) <= TOLD_AT_ONCE
    before = len(told)
    progress.note(3000, progress="half")
    progress.flush(now=True)
    assert [[step.id for step in each.steps] for each in told[before:]] == [[3000]]


def test_a_transfer_is_a_line_with_its_bytes() -> None:
    progress, told = told_of(0, "")
    with progress.line("pulling debian:12") as note:
        watcher = LineWatcher(lambda: None, note)
        layers = (
            LayerProgress("a", "downloading", 30_000_000, 100_000_000),
            LayerProgress("b", "done", 10_400_000, 20_000_000),
        )
        watcher.layers(layers)
        progress.flush(now=True)
        (step,) = told[-1].steps
        assert (step.name, step.state, step.progress) == ("pulling debian:12", "running", "40 of 120 MB")
    assert progress.steps[0].state == "done"
    assert [shown_bytes(400_000, 0), shown_bytes(400_000, 2_000_000)] == ["0.4 MB", "0.4 of 2.0 MB"]

    def cancelled() -> None:
        raise RuntimeError

    for act in (LineWatcher(cancelled, note).check, lambda: LineWatcher(cancelled, note).say("", 0, 0)):
        with pytest.raises(RuntimeError):
            act()


def test_a_name_and_a_reason_have_a_bound() -> None:
    progress, told = told_of(1, "y" * 1_000_000)
    progress.end(1, "failed", reason="z" * 1_000_000)
    progress.flush(now=True)
    (step,) = told[-1].steps
    assert (len(step.name), len(step.reason)) == (TEXT_MAX, TEXT_MAX)
