"""The fair queue as arithmetic: shares, order, slots, quotas and locks, for any history."""

from __future__ import annotations

import random
from collections import Counter
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.jobs.fairness import Entry, Queue, order


def entries(*teams: str) -> list[Entry]:
    return [Entry(f"{team}{number}", team, team) for number, team in enumerate(teams)]


def begun(queue: Queue, count: int) -> list[Any]:
    """The teams of the next ``count`` jobs, each ending before the next begins."""
    teams = []
    for _ in range(count):
        grant = queue.grant()
        assert grant is not None
        teams.append(grant.entry.team)
        queue.end(grant.entry)
    return teams


def test_teams_take_turns_however_many_jobs_one_of_them_queued_first() -> None:
    queue = Queue(slots=1, waiting=entries(*"aaaaabb"))
    assert begun(queue, 7) == list("ababaaa")


def test_a_team_with_twice_the_weight_gets_twice_as_many() -> None:
    queue = Queue(slots=1, waiting=entries(*"aaaaaabbbbbb"), weights={"a": 2})
    assert Counter(begun(queue, 6)) == {"a": 4, "b": 2}


def test_a_team_that_was_away_has_saved_up_nothing() -> None:
    queue = Queue(slots=1, waiting=entries(*"aaaa"))
    begun(queue, 4)
    for entry in entries(*"bbbbaaaa"):
        queue.add(entry)
    assert Counter(begun(queue, 4))["b"] in (2, 3)


def test_a_project_at_its_quota_lets_others_pass_and_says_why() -> None:
    queue = Queue(slots=3, waiting=entries(*"aab"), room={"a": 1})
    assert [queue.grant().entry.job for _ in range(2)] == ["a0", "b2"]  # type: ignore[union-attr]
    assert queue.grant() is None
    assert queue.reason(queue.waiting[0]) == "quota"


def test_of_a_lock_one_runs_at_a_time() -> None:
    first, second, other = (
        Entry(name, "t", "p", lock) for name, lock in (("1", "app"), ("2", "app"), ("3", ""))
    )
    queue = Queue(slots=3, waiting=[first, second, other])
    assert [queue.grant().entry.job for _ in range(2)] == ["1", "3"]  # type: ignore[union-attr]
    assert (queue.grant(), queue.reason(second)) == (None, "lock")
    queue.end(first)
    assert queue.grant().entry == second  # type: ignore[union-attr]


def test_without_slots_all_have_a_place_and_none_begins() -> None:
    queue = Queue(slots=0, waiting=entries(*"ab"))
    assert queue.grant() is None
    assert order(queue) == ["a0", "b1"]


teams = st.sampled_from("abcd")
weights = st.fixed_dictionaries({}, optional={team: st.integers(1, 5) for team in "abcd"})


@given(
    st.lists(teams, min_size=1, max_size=30), weights, st.integers(1, 4), st.randoms(use_true_random=False)
)
def test_places_are_what_happens_whichever_ends_first(
    of: list[str], weight: dict[Any, int], slots: int, chance: random.Random
) -> None:
    queue = Queue(slots=slots, waiting=entries(*of), weights=weight)
    told = order(deepcopy(queue))
    happened = []
    while queue.waiting or queue.running:
        while (grant := queue.grant()) is not None:
            happened.append(grant.entry.job)
        assert len(queue.running) <= slots
        queue.end(chance.choice(list(queue.running.values())))
    assert happened == told


@given(
    st.lists(st.tuples(teams, st.sampled_from(["", "x"])), min_size=1, max_size=20),
    st.integers(1, 4),
    st.dictionaries(teams, st.integers(1, 2)),
)
def test_places_are_what_happens_at_quotas_and_locks_when_jobs_end_as_they_began(
    of: list[tuple[str, str]], slots: int, room: dict[Any, int | None]
) -> None:
    waiting = [Entry(number, team, team, lock) for number, (team, lock) in enumerate(of)]
    queue = Queue(slots=slots, waiting=waiting, room=dict(room))
    told = order(deepcopy(queue))
    happened = []
    while queue.waiting or queue.running:
        while (grant := queue.grant()) is not None:
            happened.append(grant.entry.job)
            running = Counter(entry.project for entry in queue.running.values())
            assert all(running[project] <= (most or 0) for project, most in room.items())
            locks = Counter((entry.project, entry.lock) for entry in queue.running.values() if entry.lock)
            assert max(locks.values(), default=0) <= 1
        queue.end(next(iter(queue.running.values())))
    assert happened == told
    assert sorted(happened) == list(range(len(of)))


@given(weights, st.lists(st.tuples(st.booleans(), teams), max_size=120))
def test_no_team_waits_for_more_than_its_share(
    weight: dict[Any, int], history: list[tuple[bool, str]]
) -> None:
    """Whatever others queue and whenever: between a team's turns each other one has so many at most."""
    queue = Queue(slots=1, weights=weight)
    since: dict[Any, Counter[Any]] = {}
    """Waiting team → the jobs of others let go since it waits for its next turn."""
    for number, (arrives, team) in enumerate(history):
        if arrives:
            queue.add(Entry(number, team, team))
            since.setdefault(team, Counter())
            continue
        grant = queue.grant()
        if grant is None:
            continue
        queue.end(grant.entry)
        mine = grant.entry.team
        for other, passed in since.items():
            if other != mine:
                passed[mine] += 1
                fair = -(-weight.get(mine, 1) // weight.get(other, 1)) + 1
                assert passed[mine] <= fair, (other, mine, passed)
        since.pop(mine)
        if any(entry.team == mine for entry in queue.waiting):
            since[mine] = Counter()


@given(weights.filter(bool), st.integers(1, 4))
def test_busy_teams_share_as_they_weigh(weight: dict[Any, int], rounds: int) -> None:
    total = sum(weight.values())
    of = [team for team in weight for _ in range(rounds * total)]
    queue = Queue(slots=1, waiting=entries(*of), weights=weight)
    got = Counter(begun(queue, rounds * total))
    for team, share in weight.items():
        assert abs(got[team] - rounds * share) <= 1
