"""How states look: shape, word and tone, never colour alone; and why a container ended, in a sentence."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime

from slipway.builds.models import Build, BuildState, BuildStep, StepState
from slipway.console.figures import duration_text, size_text
from slipway.containers.models import Container, State
from slipway.jobs.models import Job, JobState, LayerState


@dataclass(frozen=True)
class Look:
    word: str
    icon: str
    tone: str
    """``ok``, ``bad``, ``warn``, ``busy`` or ``idle``: a class of parts.css."""


_CONTAINER = {
    State.CREATED: Look("created", "circle-dashed", "idle"),
    State.RUNNING: Look("running", "filled-player-play", "ok"),
    State.PAUSED: Look("paused", "player-pause", "warn"),
    State.RESTARTING: Look("restarting", "rotate-clockwise", "busy"),
    State.REMOVING: Look("removing", "loader-2", "busy"),
    State.DEAD: Look("dead", "skull", "bad"),
}
_JOB = {
    JobState.QUEUED: Look("queued", "clock", "idle"),
    JobState.RUNNING: Look("running", "loader-2", "busy"),
    JobState.SUCCEEDED: Look("succeeded", "circle-check", "ok"),
    JobState.FAILED: Look("failed", "circle-x", "bad"),
    JobState.CANCELLED: Look("cancelled", "hand-stop", "idle"),
}
_BUILD = {
    BuildState.QUEUED: _JOB[JobState.QUEUED],
    BuildState.BUILDING: Look("building", "loader-2", "busy"),
    BuildState.SUCCEEDED: _JOB[JobState.SUCCEEDED],
    BuildState.FAILED: _JOB[JobState.FAILED],
    BuildState.CANCELLED: _JOB[JobState.CANCELLED],
}
_STEP = {
    StepState.WAITING: Look("waiting", "circle-dashed", "idle"),
    StepState.RUNNING: Look("running", "loader-2", "busy"),
    StepState.CACHED: Look("cached", "stack-2", "idle"),
    StepState.DONE: Look("done", "circle-check", "ok"),
    StepState.FAILED: Look("failed", "circle-x", "bad"),
    StepState.CANCELLED: Look("cancelled", "hand-stop", "idle"),
    StepState.SKIPPED: Look("not needed", "circle", "idle"),
}
REMOVED = Look("removed", "trash", "idle")


def container_look(container: Container) -> Look:
    if container.state != State.EXITED:
        return _CONTAINER[container.state]
    if container.exit_code == 0:
        return Look("exited (0)", "filled-square", "idle")
    code = "unknown" if container.exit_code is None else container.exit_code
    return Look(f"exited ({code})", "circle-x", "bad")


def build_look(build: Build) -> Look:
    return _BUILD[build.state]


def step_look(step: BuildStep) -> Look:
    return _STEP[StepState(step.state)]


def job_look(job: Job) -> Look:
    return _JOB[JobState(job.state)]


_LAYER = {
    "waiting": ("clock", "idle"),
    "done": ("circle-check", "ok"),
    "exists": ("circle-check", "idle"),
    "mounted": ("link", "ok"),
}


def layer_look(layer: LayerState) -> Look:
    """Whatever else it does, it is busy with it."""
    icon, tone = _LAYER.get(layer.state, ("loader-2", "busy"))
    return Look("there already" if layer.state == "exists" else layer.state, icon, tone)


@dataclass(frozen=True)
class Cause:
    """Why a container is as it is. ``code`` is a ``workers.errors`` code where one was given."""

    tone: str
    text: str
    code: str = ""


def container_cause(container: Container, now: datetime) -> Cause | None:
    """None while there is nothing to explain: it runs as it should, or was never started."""
    if container.removed_at is None and container.pending:
        return _waiting(container, now)
    if container.is_alive:
        return None
    if container.oom_killed:
        limit = container.spec.get("limits", {}).get("memory_bytes")
        return Cause(
            "bad", f"Killed: it needed more memory than its limit of {size_text(limit)}.", "OOM_KILLED"
        )
    if container.cause:
        return Cause("bad", str(container.cause.get("message", "")), str(container.cause.get("code", "")))
    if container.finished_at is None:
        return None
    return _ended(container)


def _waiting(container: Container, now: datetime) -> Cause:
    wish = {State.RUNNING: "to start it", State.EXITED: "to stop it", State.REMOVING: "to remove it"}
    since = ""
    if container.observed_generation == 0:
        since = f", asked {duration_text((now - container.created_at).total_seconds())} ago"
    what = wish.get(State(container.desired), "to answer")
    return Cause("busy", f"Waiting for node {container.node.name} {what}{since}.")


def _ended(container: Container) -> Cause:
    after = ""
    if container.started_at is not None and container.finished_at is not None:
        after = f" after {duration_text((container.finished_at - container.started_at).total_seconds())}"
    code = container.exit_code
    if code is None:
        return Cause("bad", "Ended, but nobody saw how: the node or its shim went away meanwhile.")
    if code == 0:
        return Cause("ok", f"Finished without an error{after}.")
    if code > 128 and (name := _signal_name(code - 128)):
        return Cause("bad", f"Ended by {name}{after}.")
    return Cause("bad", f"Its process ended with exit code {code}{after}.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
