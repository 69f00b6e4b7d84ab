"""The lock on a node's layers: held by all who use them, alone by the sweep, and waited for aloud."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from workers.engine.layers import SWEEP_AHEAD, lease, sweeping
from workers.engine.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "data", tmp_path / "run")
    places.prepare()
    return places


def test_any_number_hold_a_lease_and_none_of_them_is_swept(places: Places) -> None:
    with lease(places), lease(places), sweeping(places) as alone:
        assert not alone


def test_who_waits_for_the_sweep_says_so_until_it_is_done(places: Places) -> None:
    heard = []
    with ExitStack() as sweep:
        assert sweep.enter_context(sweeping(places))

        def waiting(detail: str, done: int, total: int) -> None:
            heard.append(detail)
            if len(heard) == 2:
                sweep.close()

        with lease(places, waiting), sweeping(places) as alone:
            assert not alone
    assert heard == [SWEEP_AHEAD] * 2


def test_who_waits_for_the_sweep_may_stop_waiting(places: Places) -> None:
    class Cancelled(Exception):
        pass

    def waiting(detail: str, done: int, total: int) -> None:
        raise Cancelled

    with sweeping(places), pytest.raises(Cancelled), lease(places, waiting):
        raise AssertionError("the lock was held")
    with sweeping(places) as alone:
        assert alone
