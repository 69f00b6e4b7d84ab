"""What a record says to the outside: the event of its state, its line in the inventory. Pure."""

from __future__ import annotations

import time

from workers.engine.records import Outcome, Phase, Record
from workers.messages import (
    ContainerExited,
    ContainerFacts,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Event,
    Failure,
)


def event(record: Record) -> Event:
    """A start under way has none: it is finished or undone first."""
    container, generation, run = record.container, record.generation, record.run
    if record.phase is Phase.REMOVED:
        return ContainerRemoved(container, generation)
    if record.phase is Phase.RUNNING:
        return ContainerStarted(container, generation, run, record.pid, record.address, record.started_at)
    outcome = record.outcome or never_ran(container)
    if record.phase is Phase.CREATED and outcome.cause is not None:
        return ContainerFailed(container, generation, run, outcome.cause, outcome.exit_code)
    return ContainerExited(
        container=container,
        generation=generation,
        run=run,
        exit_code=outcome.exit_code,
        oom_killed=outcome.oom_killed,
        finished_at=outcome.finished_at,
        cause=outcome.cause,
    )


def facts(record: Record) -> ContainerFacts:
    state = Phase.CREATED if record.phase is Phase.STARTING else record.phase
    code = None if record.outcome is None else record.outcome.exit_code
    return ContainerFacts(record.container, record.generation, record.run, str(state), code)


def never_ran(container: str) -> Outcome:
    cause = Failure("CONTAINER_NEVER_RAN", f"Container {container} was never started on this node")
    return Outcome(None, False, time.time(), cause)
