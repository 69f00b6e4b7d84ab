"""How the agent's parts come back after they failed."""

from __future__ import annotations

from workers.agent.service import LONGEST_PAUSE, PAUSE, next_pause


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_pause(pauses[-1], lasted=0.01))
    assert pauses[1:4] == [PAUSE, 2 * PAUSE, 4 * PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_part_that_went_on_for_long_is_back_soon() -> None:
    assert next_pause(LONGEST_PAUSE, lasted=LONGEST_PAUSE + 1) == PAUSE
