"""Every message between platform and nodes: commands down, events up; plain frozen dataclasses.

Wire form: ``{"kind": <class name>, "body": {…}}`` as JSON (``encode``/``decode``). Sizes in bytes,
times in seconds since the epoch as float, CPU in thousandths of a core, digests as text.
Commands are idempotent: the same ``(container, generation)`` may be delivered any number of times.
"""

from __future__ import annotations

import json
import typing
from dataclasses import asdict
from typing import Any

from workers.errors import BadCommand
from workers.messages.builds import (
    SSH_PREFIX,
    BuildDropped,
    BuildFinished,
    BuildImage,
    BuildOptions,
    BuildProgressed,
    BuildSource,
    DropBuild,
    PruneBuildCache,
    StepFacts,
    is_repository,
)
from workers.messages.containers import (
    ContainerExited,
    ContainerFacts,
    ContainerFailed,
    ContainerRemoved,
    ContainerSpec,
    ContainerStarted,
    DropLogs,
    DropProject,
    Inventory,
    Limits,
    LogsDropped,
    ProjectDropped,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
    StopContainer,
)
from workers.messages.failures import Failure
from workers.messages.images import (
    BakeImage,
    ImageImported,
    ImagePushed,
    ImageRemoved,
    ImportImage,
    LayerFacts,
    LayerProgress,
    LayersProgressed,
    Origin,
    PullImage,
    PushImage,
    RegistryAccess,
    RemoveImage,
)
from workers.messages.jobs import (
    CancelJob,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
)
from workers.messages.wire import build

__all__ = [
    "COMMANDS",
    "EVENTS",
    "SSH_PREFIX",
    "BakeImage",
    "BuildDropped",
    "BuildFinished",
    "BuildImage",
    "BuildOptions",
    "BuildProgressed",
    "BuildSource",
    "CancelJob",
    "Command",
    "ContainerExited",
    "ContainerFacts",
    "ContainerFailed",
    "ContainerRemoved",
    "ContainerSpec",
    "ContainerStarted",
    "DropBuild",
    "DropLogs",
    "DropProject",
    "Event",
    "Failure",
    "ImageImported",
    "ImagePushed",
    "ImageRemoved",
    "ImportImage",
    "Inventory",
    "JobCancelled",
    "JobFailed",
    "JobProgressed",
    "JobStarted",
    "JobSucceeded",
    "LayerFacts",
    "LayerProgress",
    "LayersProgressed",
    "Limits",
    "LogsDropped",
    "Origin",
    "ProjectDropped",
    "ProjectSlice",
    "PruneBuildCache",
    "PullImage",
    "PushImage",
    "RegistryAccess",
    "RemoveContainer",
    "RemoveImage",
    "RunContainer",
    "StepFacts",
    "StopContainer",
    "decode_command",
    "decode_event",
    "encode",
    "is_repository",
]

Command = (
    RunContainer
    | StopContainer
    | RemoveContainer
    | DropLogs
    | DropProject
    | ImportImage
    | BakeImage
    | RemoveImage
    | PullImage
    | PushImage
    | BuildImage
    | DropBuild
    | PruneBuildCache
    | CancelJob
)
Event = (
    ContainerStarted
    | ContainerExited
    | ContainerFailed
    | ContainerRemoved
    | LogsDropped
    | ProjectDropped
    | JobStarted
    | JobProgressed
    | JobSucceeded
    | JobFailed
    | JobCancelled
    | ImageImported
    | ImageRemoved
    | LayersProgressed
    | ImagePushed
    | BuildProgressed
    | BuildFinished
    | BuildDropped
    | Inventory
)
COMMANDS: dict[str, type[Command]] = {cls.__name__: cls for cls in typing.get_args(Command)}
EVENTS: dict[str, type[Event]] = {cls.__name__: cls for cls in typing.get_args(Event)}


def encode(message: Command | Event) -> str:
    """One line of JSON."""
    return json.dumps({"kind": type(message).__name__, "body": asdict(message)}, separators=(",", ":"))


def decode_command(text: str | bytes) -> Command:
    """Raise ``BadCommand`` on an unknown kind, a missing, unknown or wrongly typed field."""
    return typing.cast(Command, _decode(text, COMMANDS))


def decode_event(text: str | bytes) -> Event:
    """Raise ``BadCommand`` as ``decode_command`` does."""
    return typing.cast(Event, _decode(text, EVENTS))


def _decode(text: str | bytes, kinds: dict[str, Any]) -> Any:
    try:
        wire = json.loads(text)
        cls = kinds[wire["kind"]]
        return build(cls, wire["body"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadCommand(f"Message not understood: {error!r}") from error
