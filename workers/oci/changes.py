"""Changes to an image's defaults, written as in a Dockerfile: ``CMD ["sh"]``, ``ENV A=1``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

from workers.errors import InvalidSpec

Run = dict[str, Any]
"""The ``config`` member of an image config."""

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def apply_changes(changes: Iterable[str]) -> Run:
    """The run defaults that ``changes`` make, in their order. Raise ``InvalidSpec`` naming the change."""
    run: Run = {}
    for change in changes:
        name, _, rest = change.strip().partition(" ")
        apply = _INSTRUCTIONS.get(name.upper())
        if apply is None:
            raise _invalid(change, f"{name[:40]!r} is none of {', '.join(sorted(_INSTRUCTIONS))}")
        if not rest.strip() or "\0" in rest:
            raise _invalid(change, "a value is missing" if not rest.strip() else "it holds a NUL character")
        try:
            apply(run, rest.strip())
        except ValueError as error:
            raise _invalid(change, str(error)) from error
    return run


def _cmd(run: Run, rest: str) -> None:
    run["Cmd"] = _command(rest)


def _entrypoint(run: Run, rest: str) -> None:
    run["Entrypoint"] = _command(rest)


def _env(run: Run, rest: str) -> None:
    env = dict(each.split("=", 1) for each in run.get("Env", []))
    env.update(_pairs(rest))
    run["Env"] = [f"{name}={value}" for name, value in env.items()]


def _expose(run: Run, rest: str) -> None:
    for word in rest.split():
        match = _PORT.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no port; 80, 80/udp or 8000-8010 was expected")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{word!r} is no range of ports within 1 to 65535")
        protocol = (match[3] or "tcp").lower()
        run.setdefault("ExposedPorts", {}).update(
            {f"{port}/{protocol}": {} for port in range(first, last + 1)}
        )


def _user(run: Run, rest: str) -> None:
    if any(character.isspace() for character in rest):
        raise ValueError("a user is a name or number, with ':group' if need be")
    run["User"] = rest


def _workdir(run: Run, rest: str) -> None:
    path = PurePosixPath(run.get("WorkingDir") or "/") / rest
    if ".." in path.parts:
        raise ValueError("the path must not hold '..'")
    run["WorkingDir"] = str(path)


def _label(run: Run, rest: str) -> None:
    run.setdefault("Labels", {}).update(_pairs(rest))


def _volume(run: Run, rest: str) -> None:
    paths = _json_list(rest) or rest.split()
    for path in paths:
        if not path.startswith("/"):
            raise ValueError(f"the volume {path!r} needs an absolute path")
    run.setdefault("Volumes", {}).update({path: {} for path in paths})


def _stopsignal(run: Run, rest: str) -> None:
    if not re.fullmatch(r"(?:SIG)?[A-Z0-9+-]{1,12}", rest):
        raise ValueError(f"{rest[:40]!r} is no signal; SIGTERM or 15 was expected")
    run["StopSignal"] = rest


_INSTRUCTIONS: dict[str, Callable[[Run, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "USER": _user,
    "WORKDIR": _workdir,
    "LABEL": _label,
    "VOLUME": _volume,
    "STOPSIGNAL": _stopsignal,
}


def _command(rest: str) -> list[str]:
    """JSON's form is the argument list itself; anything else is a line for the shell."""
    return _json_list(rest) or ["/bin/sh", "-c", rest]


def _json_list(rest: str) -> list[str] | None:
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None  # as a Dockerfile has it: what is no JSON is shell
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of texts was expected")
    return value


def _pairs(rest: str) -> dict[str, str]:
    """``A=1 B="two words"``, or the old ``A the rest``."""
    words = shlex.split(rest)
    if "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise ValueError(f"{name!r} has no value")
        return {name: value.strip()}
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"{word!r} is not NAME=value")
        pairs[name] = value
    return pairs


def _invalid(change: str, why: str) -> InvalidSpec:
    return InvalidSpec(f"Change {change[:120]!r}: {why}", change=change[:120])
