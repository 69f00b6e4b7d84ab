"""Every message between platform and nodes: commands down, events up; plain frozen dataclasses.

Wire form: ``{"kind": <class name>, "body": {…}}`` as JSON (``encode``/``decode``). Sizes in bytes,
times in seconds since the epoch as float, CPU in thousandths of a core, digests as text.
Commands are idempotent: the same ``(container, generation)`` may be delivered any number of times.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from workers.errors import BadCommand

# --------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class ProjectSlice:
    """What of this node belongs to one project. ``id`` is the project's id (32 hex digits)."""

    id: str
    uid_base: int
    subnet: str
    """IPv4 network of the project's bridge, e.g. ``10.87.3.0/24``; the gateway is its first host."""
    uid_count: int = 65536


@dataclass(frozen=True)
class Limits:
    memory_bytes: int = 512 << 20
    cpu_millis: int = 1000
    pids: int = 512


@dataclass(frozen=True)
class ContainerSpec:
    """What the user asked for. ``None`` means: as the image says."""

    image_id: str
    """Config digest, ``sha256:…``."""
    image_scope: str
    """Id of the project whose image store grants the image (the container's own, or the library)."""
    name: str
    hostname: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """``NAME=value``; added to and overriding the image's."""
    working_dir: str | None = None
    user: str | None = None
    tty: bool = False
    stop_signal: str | None = None
    read_only: bool = False
    no_new_privileges: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Failure:
    """A typed cause: a ``workers.errors`` code, one sentence, and its facts."""

    code: str
    message: str
    facts: dict[str, str | int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerFacts:
    digest: str
    """Of the blob as it came (compressed or not)."""
    diff_id: str
    size: int
    """Of the blob as it came."""
    unpacked_size: int


@dataclass(frozen=True)
class ContainerFacts:
    """A line of the inventory: what the node holds. ``state``: created, running, exited."""

    container: str
    generation: int
    run: int
    state: str
    exit_code: int | None = None


# --------------------------------------------------------------------------- commands (down)


@dataclass(frozen=True)
class RunContainer:
    """Make container exist and start it: run number ``run`` (1 for the first start)."""

    container: str
    generation: int
    run: int
    project: ProjectSlice
    spec: ContainerSpec


@dataclass(frozen=True)
class StopContainer:
    """Signal (the spec's stop signal, else the image's, else SIGTERM), then SIGKILL after ``timeout``."""

    container: str
    generation: int
    timeout: float = 10.0


@dataclass(frozen=True)
class RemoveContainer:
    """Kill if running, then drop snapshot and bundle. Log segments stay until ``DropLogs``."""

    container: str
    generation: int


@dataclass(frozen=True)
class DropLogs:
    container: str


@dataclass(frozen=True)
class ImportImage:
    """Import the archive the agent took as ``upload`` (its sha256 digest) into ``scope``'s store."""

    job: str
    scope: str
    upload: str
    repository: str | None = None
    """Name for a plain rootfs tar, or in place of the names in the archive."""
    tag: str | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BakeImage:
    """Make a base image from the distribution's packages by a named recipe (busybox, debian)."""

    job: str
    scope: str
    recipe: str
    repository: str
    tag: str


@dataclass(frozen=True)
class RemoveImage:
    """Withdraw ``scope``'s grant of ``image_id``; the sweep frees layers nobody grants."""

    job: str
    scope: str
    image_id: str


@dataclass(frozen=True)
class CancelJob:
    """End job now, whether it waits, runs or has not come yet; answered by the event of its end."""

    job: str


# --------------------------------------------------------------------------- events (up)


@dataclass(frozen=True)
class ContainerStarted:
    container: str
    generation: int
    run: int
    pid: int
    address: str
    started_at: float


@dataclass(frozen=True)
class ContainerExited:
    """``exit_code`` is None when nobody could know it (power loss, shim killed)."""

    container: str
    generation: int
    run: int
    exit_code: int | None
    oom_killed: bool
    finished_at: float
    cause: Failure | None = None


@dataclass(frozen=True)
class ContainerFailed:
    """The start of run ``run`` failed; nothing of it is left but the container's writable layer.

    ``exit_code`` is 127 or 126 where the command was not found or not executable.
    """

    container: str
    generation: int
    run: int
    cause: Failure
    exit_code: int | None = None


@dataclass(frozen=True)
class ContainerRemoved:
    container: str
    generation: int


@dataclass(frozen=True)
class LogsDropped:
    """Nothing of a removed container is left on the node."""

    container: str


@dataclass(frozen=True)
class JobStarted:
    job: str


@dataclass(frozen=True)
class JobProgressed:
    """``detail`` is one short line for people; ``done``/``total`` are bytes, or 0 where unknown."""

    job: str
    detail: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class JobSucceeded:
    job: str


@dataclass(frozen=True)
class JobFailed:
    job: str
    cause: Failure


@dataclass(frozen=True)
class JobCancelled:
    job: str


@dataclass(frozen=True)
class ImageImported:
    """An image the node now grants to ``scope``. ``config`` is the exact OCI config JSON text."""

    job: str
    scope: str
    image_id: str
    manifest_digest: str
    config: str
    layers: tuple[LayerFacts, ...]
    references: tuple[str, ...]
    """``name:tag`` as asked or as the archive names it; may be empty (dangling)."""


@dataclass(frozen=True)
class ImageRemoved:
    job: str
    scope: str
    image_id: str


@dataclass(frozen=True)
class Inventory:
    """Everything the node holds at this point of its journal; corrects what is still wrong."""

    containers: tuple[ContainerFacts, ...]


Command = (
    RunContainer
    | StopContainer
    | RemoveContainer
    | DropLogs
    | ImportImage
    | BakeImage
    | RemoveImage
    | CancelJob
)
Event = (
    ContainerStarted
    | ContainerExited
    | ContainerFailed
    | ContainerRemoved
    | LogsDropped
    | JobStarted
    | JobProgressed
    | JobSucceeded
    | JobFailed
    | JobCancelled
    | ImageImported
    | ImageRemoved
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
        return _build(cls, wire["body"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadCommand(f"Message not understood: {error!r}") from error


_HINTS: dict[type, dict[str, Any]] = {}


def _build(cls: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        raise TypeError(f"{cls.__name__}: an object was expected")
    hints = _HINTS.get(cls)
    if hints is None:
        hints = _HINTS[cls] = typing.get_type_hints(cls)
    unknown = body.keys() - {f.name for f in fields(cls)}
    if unknown:
        raise TypeError(f"{cls.__name__}: unknown field {min(unknown)}")
    return cls(**{name: _value(hints[name], value, name) for name, value in body.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(hint), value, name)
    if is_dataclass(hint):
        return _build(hint, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{name}: a list was expected")
        item = typing.get_args(hint)[0]
        return tuple(_value(item, each, name) for each in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{name}: an object was expected")
        item = typing.get_args(hint)[1]
        return {str(key): _value(item, each, name) for key, each in value.items()}
    return _scalar(hint, value, name)


def _one_of(options: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _value(option, value, name)
        except TypeError:
            continue
    raise TypeError(f"{name}: {type(value).__name__} was not expected")


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{name}: {hint.__name__} was expected")
    return value
