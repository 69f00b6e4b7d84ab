"""What a user may ask a container to be: parsed at the edge, checked here; pure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field

from slipway.accounts.errors import InvalidName
from slipway.containers.errors import EnvTooLarge, LimitTooHigh
from slipway.projects.models import Project
from workers.errors import InvalidSpec
from workers.messages import Limits

ENV_BYTES = 256 << 10
"""Of all variables; the kernel gives arguments and environment together a quarter of the stack."""
ARGUMENT_BYTES = 128 << 10
"""Of one argument or variable: the kernel's MAX_ARG_STRLEN, its closing NUL included."""
COMMAND_BYTES = 512 << 10
MEMORY_MIN = 6 << 20
CPU_MIN = 10
LABELS_MAX = 100

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_ACCOUNT = r"(?:[0-9]{1,5}|[a-z_][a-z0-9_.-]{0,31}\$?)"
_USER = re.compile(rf"{_ACCOUNT}(?::{_ACCOUNT})?", re.IGNORECASE)


@dataclass(frozen=True)
class ContainerRequest:
    """``None`` means: as the image, the project or Slipway says."""

    image: str
    name: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """``NAME=value``."""
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stop_signal: str | None = None
    read_only: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    cpu_millis: int | None = None
    pids: int | None = None
    start: bool = False
    """Start it as soon as it exists."""


def check(request: ContainerRequest) -> None:
    """Raise ``InvalidName``, ``EnvTooLarge`` or ``InvalidSpec`` naming the field and what would do."""
    if request.name is not None and not _NAME.fullmatch(request.name):
        raise InvalidName(
            f"Container name {request.name[:80]!r}: 2 to 64 letters, digits, '_', '.', '-' are allowed, "
            "beginning with a letter or digit.",
            field="name",
        )
    _check_argv("entrypoint", request.entrypoint)
    _check_argv("command", request.command)
    _check_env(request.env)
    _check_labels(request.labels)
    _check_place(request)
    if request.stop_signal is not None:
        parse_signal(request.stop_signal, field="stop_signal")


def _check_argv(name: str, argv: tuple[str, ...] | None) -> None:
    if argv is None:
        return
    sizes = [_size(argument, name) for argument in argv]
    if sum(sizes) > COMMAND_BYTES or max(sizes, default=0) > ARGUMENT_BYTES:
        raise InvalidSpec(
            f"{name}: {sum(sizes)} bytes are too many; {COMMAND_BYTES >> 10} KiB in all and "
            f"{ARGUMENT_BYTES >> 10} KiB for one argument are allowed.",
            field=name,
        )


def _check_env(env: tuple[str, ...]) -> None:
    sizes = [_size(variable, "env") for variable in env]
    if sum(sizes) > ENV_BYTES or max(sizes, default=0) > ARGUMENT_BYTES:
        raise EnvTooLarge(
            f"env: {sum(sizes)} bytes are too many; {ENV_BYTES >> 10} KiB in all and "
            f"{ARGUMENT_BYTES >> 10} KiB for one variable are allowed. Put large values into files.",
            field="env",
            size=sum(sizes),
            limit=ENV_BYTES,
        )
    for variable in env:
        name, equals, _ = variable.partition("=")
        if not equals or not name or not name.isprintable() or " " in name:
            raise InvalidSpec(f"env: {variable[:60]!r} is not of the form NAME=value.", field="env")


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        raise InvalidSpec(f"labels: at most {LABELS_MAX} are allowed.", field="labels")
    for key, value in labels.items():
        if not 1 <= _size(key, "labels") - 1 <= 200 or _size(value, "labels") > 4096:
            raise InvalidSpec(
                f"labels: {key[:60]!r}: keys have 1 to 200 bytes, values up to 4095.", field="labels"
            )


def _check_place(request: ContainerRequest) -> None:
    directory = request.working_dir
    if directory is not None and (not directory.startswith("/") or _size(directory, "working_dir") > 4096):
        raise InvalidSpec(
            "working_dir: an absolute path of at most 4095 bytes is needed.", field="working_dir"
        )
    if request.user is not None and not (_USER.fullmatch(request.user) and _ids_fit(request.user)):
        raise InvalidSpec(
            f"user: {request.user[:60]!r} is neither a name nor a number up to 65535, with an optional "
            ":group of the same kind.",
            field="user",
        )
    if request.hostname is not None and not _HOSTNAME.fullmatch(request.hostname):
        raise InvalidSpec(
            f"hostname: {request.hostname[:80]!r}: 1 to 63 letters, digits and '-' inside are allowed.",
            field="hostname",
        )


def _ids_fit(user: str) -> bool:
    return all(int(part) < 65536 for part in user.split(":") if part.isdigit())


def _size(text: str, name: str) -> int:
    """Bytes with the closing NUL. Raise ``InvalidSpec`` for text no process can be given."""
    if "\0" in text:
        raise InvalidSpec(f"{name}: a NUL character cannot be passed to a process.", field=name)
    try:
        return len(text.encode()) + 1
    except UnicodeEncodeError as error:
        raise InvalidSpec(f"{name}: the text is not valid Unicode.", field=name) from error


def parse_signal(text: str, *, field: str = "signal") -> str:
    """``SIGTERM`` from ``term``, ``SIGTERM`` or ``15``. Raise ``InvalidSpec``."""
    try:
        if text.isascii() and text.isdigit():
            return signal.Signals(int(text)).name
        upper = text.upper()
        return signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"].name
    except (ValueError, KeyError) as error:
        raise InvalidSpec(
            f"{field}: {text[:40]!r} is no signal; SIGTERM, SIGINT, SIGKILL … are.", field=field
        ) from error


def limits(request: ContainerRequest, project: Project) -> Limits:
    """What was asked for, else the default; never above the project's maximum by default.

    Raise ``InvalidSpec`` below what can work, ``LimitTooHigh`` above what the project allows.
    """
    usual = Limits()
    return Limits(
        memory_bytes=_limit(
            "memory_bytes", request.memory_bytes, usual.memory_bytes, MEMORY_MIN, project.memory_bytes_max
        ),
        cpu_millis=_limit(
            "cpu_millis", request.cpu_millis, usual.cpu_millis, CPU_MIN, project.cpu_millis_max
        ),
        pids=_limit("pids", request.pids, usual.pids, 1, project.pids_max),
    )


def _limit(name: str, asked: int | None, usual: int, low: int, high: int) -> int:
    if asked is None:
        return min(usual, high)
    if asked < low:
        raise InvalidSpec(f"{name}: {asked} is too little; at least {low} is needed.", field=name, low=low)
    if asked > high:
        raise LimitTooHigh(
            f"{name}: {asked} is more than the {high} this project allows one container.",
            field=name,
            high=high,
        )
    return asked
