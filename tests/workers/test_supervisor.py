"""The supervisor: no exit goes unseen, whoever was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import eventually
from tests.workers.fakes import FakeContainers
from workers.agent.supervisor import Supervisor
from workers.engine.runtime import process
from workers.engine.runtime.process import Process
from workers.errors import NoSuchContainer

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def containers(tmp_path: Path) -> FakeContainers:
    (tmp_path / "exits").mkdir()
    return FakeContainers(tmp_path / "logs")


@pytest.fixture
async def supervisor(containers: FakeContainers, tmp_path: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(containers, tmp_path / "exits")
    await supervisor.start()
    yield supervisor
    await supervisor.stop()


@pytest.fixture
def start() -> Iterator[Callable[[], Process]]:
    """A process that runs until it is killed."""
    children: list[subprocess.Popen[bytes]] = []

    def begin() -> Process:
        child = subprocess.Popen(["sleep", "1000"])
        children.append(child)
        found = process.find(child.pid)
        assert found is not None
        return found

    yield begin
    for child in children:
        child.kill()
        child.wait()


def write_exit_file(exits: Path, container: str) -> None:
    """As conmon does: aside, then renamed."""
    aside = exits / f"{container}.X7Y8Z9"
    aside.write_text("0")
    aside.rename(exits / container)


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, condition)


async def test_it_recovers_first(supervisor: Supervisor, containers: FakeContainers) -> None:
    assert containers.recovered == 1


async def test_an_exit_file_settles_its_container(
    supervisor: Supervisor, containers: FakeContainers, tmp_path: Path
) -> None:
    write_exit_file(tmp_path / "exits", ONE)
    await until(lambda: containers.settled == [ONE])


async def test_an_exit_file_from_before_the_start_settles_too(
    containers: FakeContainers, tmp_path: Path
) -> None:
    write_exit_file(tmp_path / "exits", ONE)
    supervisor = Supervisor(containers, tmp_path / "exits")
    await supervisor.start()
    await until(lambda: containers.settled == [ONE])
    await supervisor.stop()


async def test_what_is_no_container_is_left_alone(
    supervisor: Supervisor, containers: FakeContainers, tmp_path: Path
) -> None:
    (tmp_path / "exits" / "garbage").write_text("0")
    write_exit_file(tmp_path / "exits", TWO)
    await until(lambda: containers.settled == [TWO])


async def test_without_an_exit_file_the_end_of_the_process_settles(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process]
) -> None:
    init = start()
    containers.inits[ONE] = init
    supervisor.watch(ONE)
    assert supervisor.running == 1
    os.kill(init.pid, signal.SIGKILL)
    await until(lambda: containers.settled == [ONE])
    assert supervisor.running == 0


async def test_a_process_that_ended_before_it_was_watched_settles(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process]
) -> None:
    init = start()
    os.kill(init.pid, signal.SIGKILL)
    await until(lambda: not process.alive(init))
    containers.inits[ONE] = init
    supervisor.watch(ONE)
    await until(lambda: containers.settled == [ONE])


async def test_a_recycled_pid_is_not_taken_for_the_container(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process]
) -> None:
    init = start()
    containers.inits[ONE] = Process(init.pid, init.start_time - 1)
    supervisor.watch(ONE)
    assert supervisor.running == 0
    await until(lambda: containers.settled == [ONE])


async def test_looking_around_finds_containers_nobody_told_of(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process]
) -> None:
    containers.inits[ONE] = start()
    await supervisor.look_around()
    assert supervisor.running == 1


async def test_both_notices_of_one_end_settle_once(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process], tmp_path: Path
) -> None:
    init = start()
    containers.inits[ONE] = init
    supervisor.watch(ONE)
    write_exit_file(tmp_path / "exits", ONE)
    os.kill(init.pid, signal.SIGKILL)
    await until(lambda: containers.settled == [ONE] and supervisor.running == 0)
    # The next one's settling comes after whatever the first one's process could still cause.
    second = start()
    containers.inits[TWO] = second
    supervisor.watch(TWO)
    os.kill(second.pid, signal.SIGKILL)
    await until(lambda: TWO in containers.settled)
    assert containers.settled == [ONE, TWO]


async def test_settling_that_fails_is_tried_again(
    supervisor: Supervisor, containers: FakeContainers, tmp_path: Path
) -> None:
    tries = []

    def fail_twice(container: str) -> bool:
        tries.append(container)
        if len(tries) < 3:
            raise OSError("the disk is full")
        return True

    containers.on_settle = fail_twice
    write_exit_file(tmp_path / "exits", ONE)
    await until(lambda: containers.settled == [ONE])
    assert tries == [ONE] * 3


async def test_an_exit_of_a_container_nobody_knows_is_dropped(
    supervisor: Supervisor, containers: FakeContainers, tmp_path: Path
) -> None:
    def unknown(container: str) -> bool:
        raise NoSuchContainer("never heard of it")

    containers.on_settle = unknown
    write_exit_file(tmp_path / "exits", ONE)
    await until(lambda: not (tmp_path / "exits" / ONE).exists())


async def test_a_run_that_began_after_the_exit_goes_on_being_watched(
    supervisor: Supervisor, containers: FakeContainers, start: Callable[[], Process], tmp_path: Path
) -> None:
    containers.inits[ONE] = start()
    supervisor.watch(ONE)

    def still_running(container: str) -> bool:
        (tmp_path / "exits" / container).unlink(missing_ok=True)
        return False

    containers.on_settle = still_running
    write_exit_file(tmp_path / "exits", ONE)
    await until(lambda: containers.settled == [ONE])
    assert supervisor.running == 1


async def test_stopping_the_agent_touches_no_container(
    containers: FakeContainers, start: Callable[[], Process], tmp_path: Path
) -> None:
    init = start()
    containers.inits[ONE] = init
    supervisor = Supervisor(containers, tmp_path / "exits")
    await supervisor.start()
    await supervisor.stop()
    assert process.alive(init)
    assert containers.settled == []
