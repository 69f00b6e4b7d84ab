"""The clock of the machine is set back while a container is being stopped."""

from __future__ import annotations

import threading
import time

import pytest

from tests.system.rigs import Rig, until
from workers.engine import containers
from workers.messages import ContainerExited, StopContainer

DAY = 24 * 3600.0


def test_a_stop_kills_after_its_timeout_whatever_the_clock_says(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = rig.run("sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.1; done")
    until(lambda: rig.lines(container) == ["begun"])
    command = StopContainer(container, generation=2, timeout=1.0)
    containers._begin_stop(rig.engine, command, rig.events.append)
    truth = time.time
    monkeypatch.setattr(time, "time", lambda: truth() - DAY)
    # Somebody else takes it up from the record, as after the death of a worker.
    again = rig.command("true", container=container, generation=3, run=2)
    starting = threading.Thread(target=containers.run, args=(rig.engine, again, rig.events.append))
    starting.start()
    starting.join(10)
    assert not starting.is_alive(), "it waits for the clock"
    assert next(each for each in rig.events if isinstance(each, ContainerExited)).exit_code == 137
