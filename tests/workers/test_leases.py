"""Addresses: unique, kept, given back, and not reused at once. A directory of links needs no root."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.engine import leases
from workers.errors import NetworkFailed, NoAddress

SUBNET = "10.90.7.0/24"


def container(number: int) -> str:
    return f"{number:064x}"


def test_the_gateway_is_the_first_host() -> None:
    assert leases.gateway(SUBNET) == "10.90.7.1"


def test_a_container_keeps_its_address(tmp_path: Path) -> None:
    first = leases.take(tmp_path, SUBNET, container(1))
    leases.take(tmp_path, SUBNET, container(2))
    assert leases.take(tmp_path, SUBNET, container(1)) == first == "10.90.7.2"


def test_an_address_just_given_back_comes_round_last(tmp_path: Path) -> None:
    seen = []
    for number in range(253):
        seen.append(leases.take(tmp_path, SUBNET, container(number)))
        leases.give_back(tmp_path, container(number))
    assert len(set(seen)) == 253
    assert leases.take(tmp_path, SUBNET, container(999)) == seen[0]


def test_every_host_but_the_gateway_is_used_then_the_subnet_is_full(tmp_path: Path) -> None:
    taken = {leases.take(tmp_path, "10.90.7.0/29", container(number)) for number in range(5)}
    assert taken == {f"10.90.7.{host}" for host in range(2, 7)}
    with pytest.raises(NoAddress, match=r"10\.90\.7\.0/29 is taken \(5\)"):
        leases.take(tmp_path, "10.90.7.0/29", container(9))
    leases.give_back(tmp_path, container(3))
    assert leases.take(tmp_path, "10.90.7.0/29", container(9)) in taken


def test_giving_back_is_repeatable_and_spares_others(tmp_path: Path) -> None:
    leases.give_back(tmp_path / "nowhere", container(1))
    leases.take(tmp_path, SUBNET, container(1))
    leases.take(tmp_path, SUBNET, container(2))
    leases.give_back(tmp_path, container(1))
    leases.give_back(tmp_path, container(1))
    assert leases.holders(tmp_path) == {container(2)}


def test_eight_threads_never_share_an_address(tmp_path: Path) -> None:
    directory = tmp_path / "project"
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: leases.take(directory, SUBNET, container(number)), range(240)))
    assert len(set(taken)) == 240
    assert len(leases.holders(directory)) == 240


def _take_many(job: tuple[str, int]) -> list[str]:
    directory, offset = job
    return [leases.take(Path(directory), SUBNET, container(offset + number)) for number in range(60)]


def test_processes_never_share_an_address(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        taken = pool.map(_take_many, [(str(tmp_path / "project"), 0), (str(tmp_path / "project"), 1000)])
    assert len({address for each in taken for address in each}) == 120


def test_a_project_can_be_forgotten(tmp_path: Path) -> None:
    leases.take(tmp_path / "project", SUBNET, container(1))
    leases.drop(tmp_path / "project")
    leases.drop(tmp_path / "project")
    assert leases.holders(tmp_path / "project") == set()


@pytest.mark.parametrize("subnet", ["10.90.7.1/24", "10.90.7.0/31", "fd00::/64", "x"])
def test_what_is_no_usable_network_is_refused(tmp_path: Path, subnet: str) -> None:
    with pytest.raises(NetworkFailed):
        leases.take(tmp_path, subnet, container(1))


def test_a_subnet_that_changed_is_searched_from_its_start(tmp_path: Path) -> None:
    leases.take(tmp_path, SUBNET, container(1))
    assert leases.take(tmp_path, "10.91.0.0/29", container(2)).startswith("10.91.0.")
