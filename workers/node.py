"""This node: its environment, read here and nowhere else, and its real collaborators, built once."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.content import DirectoryContent
from workers.contexts import Contexts
from workers.engine.host import Engine, open_engine
from workers.engine.networks import PRIVATE
from workers.engine.places import Places
from workers.errors import NodeError
from workers.journal import Journal
from workers.messages import Event
from workers.uploads import Uploads

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Environment:
    """What the operator said, checked. Every field has its default from docs/architecture.md."""

    places: Places
    name: str
    instance: str
    redis_url: str
    """``unix://<path>[?db=n]`` or ``redis[s]://…``, as redis-py takes it."""
    egress_deny: tuple[str, ...]
    egress_allow: tuple[str, ...]
    group: str
    """Whose members may talk to the agent."""
    log: str
    build_slots: int = 2
    """Builds at once."""
    build_cache_bytes: int = 20 << 30
    build_cache_days: int = 30


@dataclass(frozen=True)
class Node:
    environment: Environment
    engine: Engine
    journal: Journal
    uploads: Uploads
    contexts: Contexts

    @property
    def name(self) -> str:
        return self.environment.name

    def emit(self, event: Event) -> None:
        """Journal it; on disk when this returns. Raise ``NoSpace``, ``NodeError``."""
        self.journal.append(event)

    @property
    def places(self) -> Places:
        return self.environment.places


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Raise ``NodeError`` naming the variable that cannot be."""
    run = _path(variables, "SLIPWAY_RUN", "/run/slipway")
    return Environment(
        places=Places(data=_path(variables, "SLIPWAY_DATA", "/var/lib/slipway"), run=run),
        name=_name(variables, "SLIPWAY_NODE", "local"),
        instance=_name(variables, "SLIPWAY_INSTANCE", "slipway"),
        redis_url=variables.get("SLIPWAY_REDIS_URL") or f"unix://{run}/redis.sock",
        egress_deny=_networks(variables, "SLIPWAY_EGRESS_DENY", PRIVATE),
        egress_allow=_networks(variables, "SLIPWAY_EGRESS_ALLOW", ()),
        group=variables.get("SLIPWAY_GROUP") or "slipway",
        log=variables.get("SLIPWAY_LOG") or "json",
        build_slots=_number(variables, "SLIPWAY_BUILD_SLOTS", 2),
        build_cache_bytes=_number(variables, "SLIPWAY_BUILD_CACHE_GB", 20) << 30,
        build_cache_days=_number(variables, "SLIPWAY_BUILD_CACHE_DAYS", 30),
    )


def open_node(environment: Environment) -> Node:
    """Make the node's directories and open what works on them. Raise ``NodeError``: what is missing."""
    if os.geteuid() != 0:
        raise NodeError("Worker and agent of a node need root: start them with sudo or as a system service")
    try:
        environment.places.prepare()
    except OSError as error:
        raise NodeError(
            f"Cannot make {error.filename}: {error.strerror}", path=str(error.filename)
        ) from error
    engine = open_engine(
        environment.places,
        instance=environment.instance,
        egress_deny=environment.egress_deny,
        egress_allow=environment.egress_allow,
    )
    journal = Journal(environment.places.journal, environment.places.journal_poke)
    uploads = Uploads(environment.places.uploads, DirectoryContent(environment.places.content))
    contexts = Contexts(environment.places.contexts, uploads)
    return Node(environment, engine, journal, uploads, contexts)


def take_lock(path: Path, what: str) -> int:
    """Be the only ``what`` of the run directory until the returned descriptor is closed, at the latest when
    this process ends. Raise ``NodeError`` when there is another."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise NodeError(
            f"Another {what} runs for {path.parent}: stop it, or give this one its own SLIPWAY_RUN",
            path=str(path),
        ) from error
    return fd


def _path(variables: Mapping[str, str], name: str, default: str) -> Path:
    path = Path(variables.get(name) or default)
    if not path.is_absolute():
        raise NodeError(f"{name}={path}: an absolute path is needed")
    return path


def _name(variables: Mapping[str, str], name: str, default: str) -> str:
    value = variables.get(name) or default
    if not _NAME.fullmatch(value):
        raise NodeError(f"{name}={value}: up to 40 lower-case letters, digits and inner hyphens are needed")
    return value


def _number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdigit() or int(text) < 1:
        raise NodeError(f"{name}={text}: a whole number from 1 on is needed")
    return int(text)


def _networks(variables: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if name not in variables:
        return default
    try:
        return tuple(str(ipaddress.IPv4Network(each)) for each in variables[name].replace(",", " ").split())
    except ValueError as error:
        raise NodeError(
            f"{name}: {error}; IPv4 networks like 10.0.0.0/8 are needed, with commas between"
        ) from error
