"""The command a container's wish amounts to: from the row alone, so that it can be sent again."""

from __future__ import annotations

import json

from slipway.containers.models import Container, State
from workers.messages import Command, RemoveContainer, RunContainer, StopContainer, decode_command


def command_for(container: Container) -> Command:
    """Needs ``project`` loaded. Raise ``ValueError`` for a wish no command stands for."""
    match container.desired:
        case State.RUNNING:
            return _run(container)
        case State.EXITED:
            return StopContainer(container.id, container.desired_generation, container.stop_timeout)
        case State.REMOVING:
            return RemoveContainer(container.id, container.desired_generation)
    raise ValueError(f"No command makes a container {container.desired}")


def _run(container: Container) -> RunContainer:
    # The spec is a column of JSON; the decoder of messages gives it its types back and checks it.
    body = {
        "container": container.id,
        "generation": container.desired_generation,
        "run": container.desired_run,
        "project": vars(container.project.slice),
        "spec": container.spec,
    }
    command = decode_command(json.dumps({"kind": "RunContainer", "body": body}))
    if not isinstance(command, RunContainer):
        raise TypeError("RunContainer was expected")
    return command
