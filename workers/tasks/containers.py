"""Commands to containers: call the engine, journal what comes of it."""

from __future__ import annotations

from workers.engine import containers, projects
from workers.errors import BadCommand
from workers.messages import (
    ContainerFailed,
    DropLogs,
    LogsDropped,
    RemoveContainer,
    RunContainer,
    StopContainer,
)
from workers.node import Node
from workers.tasks.failures import failure_of

ContainerCommand = RunContainer | StopContainer | RemoveContainer | DropLogs


def perform(node: Node, command: ContainerCommand) -> None:
    """Carry it out. What it came to is in the journal; raises when that could not be told.

    A stop or a removal that fails has no event of its own: the container is as it was, the wish is not
    fulfilled, and the platform's sweep asks again.
    """
    match command:
        case RunContainer():
            _run(node, command)
        case StopContainer():
            containers.stop(node.engine, command, node.emit)
        case RemoveContainer():
            containers.remove(node.engine, command, node.emit)
        case DropLogs():
            containers.drop_logs(node.engine, command)
            node.emit(LogsDropped(command.container))


def _run(node: Node, command: RunContainer) -> None:
    if projects.is_dropped(node.places, command.project.id):
        raise BadCommand(f"The project {command.project.id} was deleted; its containers do not come back")
    try:
        containers.run(node.engine, command, node.emit)
    except BadCommand:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it was, the wish must get an answer
        cause = failure_of(error, doing="RunContainer")
        node.emit(ContainerFailed(command.container, command.generation, command.run, cause))
