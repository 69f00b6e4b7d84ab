"""Generations, stops under way, and starts that were cut off: the engine converges on one truth."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.system.rigs import DEADLINE, Rig, until
from workers.engine import containers, records
from workers.engine.runtime import process
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    DropLogs,
    Event,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
    StopContainer,
)

FOREVER = ("sleep", "100000")
POLITE = ("sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.01; done")
STUBBORN = ("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.01; done")


def ready(rig: Rig, *args: str, **wishes: object) -> str:
    container = rig.run(*args, **wishes)
    until(lambda: "ready" in rig.lines(container))
    return container


# --------------------------------------------------------------------------- generations


def test_a_command_delivered_again_changes_nothing_and_is_answered_again(rig: Rig) -> None:
    command = rig.command("sh", "-c", "echo once; exec sleep 100000")
    for _ in range(3):
        containers.run(rig.engine, command, rig.events.append)
    first, second, third = rig.events
    assert first == second == third
    until(lambda: rig.lines(command.container) == ["once"])


def test_a_finished_container_is_not_run_again_by_its_old_command(rig: Rig) -> None:
    command = rig.command("sh", "-c", "echo once")
    containers.run(rig.engine, command, rig.events.append)
    ended = rig.end(command.container)
    containers.run(rig.engine, command, rig.events.append)
    assert rig.events[-1] == ended
    assert rig.lines(command.container) == ["once"]


def test_running_what_runs_already_takes_the_new_generation(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    first = rig.last(ContainerStarted)
    containers.run(rig.engine, rig.command(*FOREVER, container=container, generation=7), rig.events.append)
    assert rig.events[-1] == replace(first, generation=7)


def test_a_removed_container_is_not_brought_back(rig: Rig) -> None:
    command = rig.command(*FOREVER)
    containers.run(rig.engine, command, rig.events.append)
    containers.remove(rig.engine, RemoveContainer(command.container, 2), rig.events.append)
    for generation in (1, 5):
        containers.run(rig.engine, replace(command, generation=generation), rig.events.append)
        assert rig.events[-1] == ContainerRemoved(command.container, 2)
    assert containers.running(rig.engine) == []
    containers.drop_logs(rig.engine, DropLogs(command.container))
    assert command.container not in records.containers(rig.places)


def test_a_failed_start_is_answered_again_and_a_later_one_may_succeed(rig: Rig) -> None:
    failed = rig.fail("no-such-command")
    containers.run(rig.engine, rig.command("true", container=failed.container), rig.events.append)
    assert rig.events[-1] == failed
    assert rig.result("true", container=failed.container, generation=2, run=2)[0] == 0


# --------------------------------------------------------------------------- stops


def test_a_stop_asks_and_reports_what_the_program_made_of_it(rig: Rig) -> None:
    container = ready(rig, *POLITE)
    containers.stop(rig.engine, StopContainer(container, 2, timeout=DEADLINE), rig.events.append)
    event = rig.last(ContainerExited)
    assert (event.exit_code, event.generation) == (5, 2)
    assert rig.nothing_left(container)


def test_a_stop_kills_after_its_timeout(rig: Rig) -> None:
    container = ready(rig, *STUBBORN)
    began = time.monotonic()
    containers.stop(rig.engine, StopContainer(container, 2, timeout=0.3), rig.events.append)
    assert 0.3 <= time.monotonic() - began < DEADLINE
    assert rig.last(ContainerExited).exit_code == 137


def test_a_stop_sends_the_signal_that_was_asked_for(rig: Rig) -> None:
    script = "trap 'exit 6' USR1; echo ready; while true; do sleep 0.01; done"
    container = ready(rig, "sh", "-c", script, stop_signal="SIGUSR1")
    containers.stop(rig.engine, StopContainer(container, 2, timeout=DEADLINE), rig.events.append)
    assert rig.last(ContainerExited).exit_code == 6


def test_stopping_what_does_not_run_settles_to_how_it_ended(rig: Rig) -> None:
    container = rig.run("sh", "-c", "exit 4")
    ended = rig.end(container)
    containers.stop(rig.engine, StopContainer(container, 2), rig.events.append)
    assert rig.events[-1] == replace(ended, generation=2)


def test_stopping_what_never_ran_here_is_answered(rig: Rig) -> None:
    container = rig.command("true").container
    containers.stop(rig.engine, StopContainer(container, 3), rig.events.append)
    event = rig.last(ContainerFailed)
    assert (event.generation, event.cause.code) == (3, "CONTAINER_NEVER_RAN")


def test_a_kill_comes_through_while_a_stop_waits(rig: Rig) -> None:
    container = ready(rig, *STUBBORN)
    stop = StopContainer(container, 2, timeout=1000)
    stopping = threading.Thread(target=containers.stop, args=(rig.engine, stop, rig.events.append))
    stopping.start()
    until(lambda: rig.record(container).stopping is not None)
    containers.kill(rig.engine, container, signal.SIGKILL)
    stopping.join(DEADLINE)
    assert not stopping.is_alive()
    assert rig.last(ContainerExited).generation == 2


def test_a_start_waits_for_the_stop_before_it(rig: Rig) -> None:
    container = ready(rig, *STUBBORN)
    stop = StopContainer(container, 2, timeout=0.5)
    stopping = threading.Thread(target=containers.stop, args=(rig.engine, stop, rig.events.append))
    stopping.start()
    until(lambda: rig.record(container).stopping is not None)
    again = rig.command(*FOREVER, container=container, generation=3, run=2)
    containers.run(rig.engine, again, rig.events.append)
    stopping.join(DEADLINE)
    assert rig.record(container).run == 2
    started = rig.last(ContainerStarted)
    assert (started.generation, started.run) == (3, 2)
    first_run_ended = [event for event in rig.events if isinstance(event, ContainerExited)]
    assert first_run_ended[0].run == 1
    assert rig.events.index(first_run_ended[0]) < rig.events.index(started)


def test_a_settled_end_is_told_once_by_many(rig: Rig) -> None:
    container = rig.run("true")
    assert containers.wait(rig.engine, container, DEADLINE)
    threads = [
        threading.Thread(target=containers.settle, args=(rig.engine, container, rig.events.append))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [type(event) for event in rig.events] == [ContainerStarted, ContainerExited]


# --------------------------------------------------------------------------- cut off


class _Died(BaseException):
    """In place of SIGKILL: no handler of ours catches it, as none would run."""


def _cut_off(rig: Rig, command: RunContainer, where: str) -> None:
    """Let a process of its own carry out ``command`` and die in the middle, as kill -9 would have it."""
    child = os.fork()
    if child == 0:
        emit: Callable[[Event], None] = lambda event: os._exit(9)  # noqa: E731
        engine = rig.engine
        if where != "journaling":
            engine = replace(engine, networks=_Deadly(engine.networks, where))
        containers.run(engine, command, emit)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


class _Deadly:
    """Networks whose process dies in one of their methods."""

    def __init__(self, networks: object, method: str) -> None:
        self._networks, self._method = networks, method

    def __getattr__(self, name: str) -> object:
        return (lambda *_: os._exit(9)) if name == self._method else getattr(self._networks, name)


@pytest.mark.parametrize("where", ["lease", "resolv_conf", "attach"])
def test_a_start_cut_off_before_the_program_ran_is_undone_and_done_again(rig: Rig, where: str) -> None:
    command = rig.command("sh", "-c", "echo once")
    _cut_off(rig, command, where)
    containers.recover(rig.engine, rig.events.append)
    assert rig.events == []
    assert rig.nothing_left(command.container)
    containers.run(rig.engine, command, rig.events.append)
    assert rig.end(command.container).exit_code == 0
    assert rig.lines(command.container) == ["once"]


def test_a_start_cut_off_is_done_again_without_a_recovery_too(rig: Rig) -> None:
    command = rig.command(*FOREVER)
    _cut_off(rig, command, "attach")
    containers.run(rig.engine, command, rig.events.append)
    assert [type(event) for event in rig.events] == [ContainerStarted]
    assert len(containers.running(rig.engine)) == 1


def test_the_undoing_of_a_start_cut_off_may_be_cut_off_too(rig: Rig) -> None:
    """Its processes are gone then, and it must not be taken for a container that ran and lost its shim."""
    command = rig.command("sh", "-c", "echo once")
    _cut_off(rig, command, "attach")
    _cut_off(rig, command, "release")
    containers.recover(rig.engine, rig.events.append)
    assert rig.events == []
    containers.run(rig.engine, command, rig.events.append)
    assert rig.end(command.container).exit_code == 0
    assert rig.lines(command.container) == ["once"]


def test_a_start_cut_off_after_the_program_ran_is_adopted_and_not_repeated(rig: Rig) -> None:
    command = rig.command("sh", "-c", "echo once; exec sleep 100000")
    _cut_off(rig, command, "journaling")
    containers.recover(rig.engine, rig.events.append)
    containers.run(rig.engine, command, rig.events.append)
    started, repeated = rig.events
    assert isinstance(started, ContainerStarted)
    assert started == repeated
    until(lambda: rig.lines(command.container) == ["once"])


def test_a_program_that_ended_before_its_start_was_journaled_has_both_events(rig: Rig) -> None:
    command = rig.command("sh", "-c", "exit 8")
    _cut_off(rig, command, "journaling")
    until(lambda: rig.places.exit(command.container).exists())
    containers.recover(rig.engine, rig.events.append)
    assert [type(event) for event in rig.events] == [ContainerStarted, ContainerExited]
    assert rig.last(ContainerExited).exit_code == 8
    assert rig.nothing_left(command.container)


def test_a_clean_up_cut_off_is_finished_by_recovery(rig: Rig) -> None:
    container = rig.run("true")
    assert containers.wait(rig.engine, container, DEADLINE)

    def die(event: Event) -> None:
        raise _Died

    with pytest.raises(_Died):
        containers.settle(rig.engine, container, die)
    assert rig.traces(container)
    containers.recover(rig.engine, rig.events.append)
    assert rig.last(ContainerExited).exit_code == 0
    assert rig.nothing_left(container)


def test_after_a_reboot_what_ran_has_ended_for_a_reason_unknown(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    record = rig.record(container)
    assert record.shim is not None
    process.send(record.shim, signal.SIGKILL)
    rig.engine.cgroups.kill(record.cgroup)
    bystander = process.find(os.getpid())
    with records.locked(rig.places, container):
        # Its pid is somebody else's now: that process must not be touched.
        records.write(rig.places, replace(record, boot="an earlier one", init=bystander, shim=bystander))
    containers.recover(rig.engine, rig.events.append)
    event = rig.last(ContainerExited)
    assert event.exit_code is None
    assert event.cause is not None
    assert event.cause.code == "NODE_RESTARTED"
    assert rig.nothing_left(container)


def test_a_record_torn_by_a_power_loss_is_forgotten_and_the_files_are_kept(rig: Rig) -> None:
    container = rig.run("sh", "-c", "echo one > /kept")
    rig.end(container)
    rig.places.record(container).write_text("")
    containers.recover(rig.engine, rig.events.append)
    assert container not in {facts.container for facts in containers.inventory(rig.engine)}
    assert rig.result("cat", "/kept", container=container, generation=2, run=2) == (0, ["one"])


def test_a_start_that_fails_half_way_leaves_nothing(rig: Rig) -> None:
    class Broken(_Deadly):
        def attach(self, project: ProjectSlice, container: str, address: str, pid: int) -> None:
            raise OSError("no wire")

    engine = replace(rig.engine, networks=Broken(rig.engine.networks, ""))  # type: ignore[arg-type]
    command = rig.command(*FOREVER)
    containers.run(engine, command, rig.events.append)
    assert rig.last(ContainerFailed).cause.code == "RUNTIME_FAILED"
    assert rig.nothing_left(command.container)
