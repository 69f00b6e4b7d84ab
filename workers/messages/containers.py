"""Messages about containers."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.messages.failures import Failure

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
class DropProject:
    """The project was deleted: nothing of it is to stay on the node."""

    project: ProjectSlice


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
class Inventory:
    """Everything the node holds at this point of its journal; corrects what is still wrong."""

    containers: tuple[ContainerFacts, ...]


@dataclass(frozen=True)
class ProjectDropped:
    project: str
