"""Any process may be killed at any moment: right states, exit codes and logs, nothing left."""

from __future__ import annotations

import random

import pytest

from tests.killing import Storm
from tests.stacks import RunningStack


@pytest.mark.timeout(300)
def test_containers_survive_the_death_of_every_process_once(stack: RunningStack) -> None:
    Storm(stack, containers=12, rounds=1, seed=random.randrange(10**6)).run()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fifty_containers_survive_the_death_of_every_process_twice(stack: RunningStack, seed: int) -> None:
    Storm(stack, containers=50, rounds=2, seed=seed).run()
