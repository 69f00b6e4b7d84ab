"""The kill matrix (tests/matrix.py): whoever is killed at whatever step, everything converges."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import stacks
from tests.matrix import Matrix, Plan, control, everybody_is_back, half_written, plan, unfinished
from tests.rest import until
from tests.stacks import RunningStack

TRIALS = int(os.environ.get("SLIPWAY_TEST_TRIALS", "210"))
SEED = int(os.environ.get("SLIPWAY_TEST_SEED", random.randrange(10**6)))
"""Of the first trial; set it to do the same again."""
LOST = Plan(1, "start", "web", "dispatch.before_send")
"""Only the sweep helps then: the wish is on its row, and nobody was told."""


@pytest.fixture(scope="module")
def armed() -> Iterator[RunningStack]:
    """A process set of its own whose processes die where they are told to."""
    running = stacks.start(stacks.environment() | {"SLIPWAY_CRASH": "all"})
    yield running
    running.stop()


def assert_all_is_well(matrix: Matrix, wrong: list[str]) -> None:
    assert not wrong, f"{len(wrong)} trials went wrong:\n" + "\n".join(wrong)
    everybody_is_back(matrix.stack)
    with contextlib.suppress(AssertionError):
        until(lambda: True if not unfinished(matrix.stack) else None, 60, "unfinished rows")
    assert unfinished(matrix.stack) == []


@pytest.mark.timeout(180)
def test_twenty_wishes_come_true_whoever_is_killed_meanwhile(armed: RunningStack) -> None:
    matrix = Matrix(armed)
    wrong = matrix.run(plan(SEED + number) for number in range(20))
    assert_all_is_well(matrix, wrong)
    assert matrix.killed >= 10, f"only {matrix.killed} of 20 trials hit anybody (seed {SEED})"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_hundreds_of_wishes_come_true_whoever_is_killed_meanwhile(armed: RunningStack) -> None:
    matrix = Matrix(armed)
    began = time.monotonic()
    wrong = matrix.run(plan(SEED + number) for number in range(TRIALS))
    print(
        f"\n{TRIALS} trials from seed {SEED} in {time.monotonic() - began:.0f} s; {matrix.killed} hit:"
        f" {dict(sorted(matrix.by_victim.items()))}; slowest {matrix.slowest:.1f} s; {len(wrong)} wrong",
        *wrong,
        sep="\n",
    )
    assert_all_is_well(matrix, wrong)
    # What a worker left half-written is swept by the agent: every hour, and when it starts.
    os.kill(until(lambda: armed.pid("agent"), 10, "no agent"), signal.SIGKILL)
    until(lambda: True if not half_written(armed) else None, 60, "half-written files")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_matrix_passes_when_nobody_is_killed(armed: RunningStack) -> None:
    matrix = Matrix(armed)
    wrong = matrix.run(control(number) for number in range(24))
    assert_all_is_well(matrix, wrong)
    assert matrix.killed == 0


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_matrix_fails_when_the_sweep_does_nothing_and_passes_when_it_does(armed: RunningStack) -> None:
    matrix = Matrix(armed, patience=20)
    broken = matrix.crash / "without.sweep"
    broken.touch()
    try:
        wrong = matrix.run([LOST])
    finally:
        broken.unlink()
    assert len(wrong) == 1, "a sweep that does nothing was not noticed"
    assert "does not settle" in wrong[0], wrong
    matrix.patience = 60
    assert_all_is_well(matrix, matrix.run([replace(LOST, seed=2)]))
