"""What a build's command line means: where the context is, which secrets, where the result goes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.cli.errors import CliError, Exit, Misused

_ARCHIVES = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")


@dataclass(frozen=True)
class Target:
    """What is built: ``body`` for the request, and where the context comes from."""

    body: dict[str, Any]
    folder: Path | None = None
    dockerfile: str | None = None
    """Its text, where it is known here."""


def parse_pairs(given: list[str] | None, option: str, *, from_environment: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not name or not (equals or from_environment):
            raise Misused(f"{option} {each!r}: NAME=VALUE is needed.")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def parse_secrets(given: list[str] | None) -> dict[str, str]:
    """``id=ID,src=FILE`` or ``id=ID,env=NAME``; ``id=ID`` alone is the variable or the file of that name."""
    found: dict[str, str] = {}
    for each in given or ():
        parts = dict(part.partition("=")[::2] for part in each.split(","))
        key = parts.get("id", "")
        source, variable = parts.get("src") or parts.get("source"), parts.get("env")
        if not key or parts.keys() - {"id", "src", "source", "env", "type"}:
            raise Misused(f"--secret {each!r}: id=ID,src=FILE or id=ID,env=NAME is needed.")
        variable = variable or (key if source is None and key in os.environ else None)
        if variable is not None:
            if variable not in os.environ:
                raise Misused(f"--secret {key}: the variable {variable} is not set.")
            found[key] = os.environ[variable]
        else:
            found[key] = _text_of(Path(source or key))
    return found


def parse_ssh(given: list[str] | None) -> dict[str, str]:
    """``ID=FILE[,FILE]``: private keys. An agent of here cannot be reached from the node."""
    found: dict[str, str] = {}
    for each in given or ():
        key, _, files = each.partition("=")
        if not key or not files:
            raise Misused(
                f"--ssh {each!r}: ID=FILE is needed. The build runs on a node, which reaches no agent of "
                "yours: name a private key's file, best of a key made for this alone."
            )
        found[key] = "".join(_key_of(Path(file).expanduser(), each) for file in files.split(","))
    return found


def _key_of(path: Path, given: str) -> str:
    if path.is_socket():
        raise Misused(f"--ssh {given}: {path} is an agent's socket, which no node can reach; name a key.")
    text = _text_of(path)
    if "PRIVATE KEY-----" not in text:
        raise Misused(f"--ssh {given}: {path} is no private key.")
    return text if text.endswith("\n") else f"{text}\n"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        missing = isinstance(error, FileNotFoundError)
        raise CliError(
            f"{path} cannot be read: {str(why).lower()}.",
            code="FILE_UNREADABLE",
            exit_code=Exit.NOT_FOUND if missing else Exit.ERROR,
        ) from error


def find_target(path: str, file: str | None) -> Target:
    if path == "-":
        return _from_stdin(file)
    if _is_remote(path):
        return Target({"remote": path, "dockerfile": file or "Dockerfile"})
    folder = Path(path)
    if not folder.is_dir():
        raise CliError(
            f"{path} is no directory and no address.",
            code="NO_CONTEXT",
            exit_code=Exit.NOT_FOUND,
        )
    if file == "-":
        text = sys.stdin.read()
        return Target({"dockerfile_text": text}, folder, text)
    return _in_folder(folder, file)


def _in_folder(folder: Path, file: str | None) -> Target:
    """A Dockerfile of the folder is named, any other one is sent as text."""
    # As Docker does: -f is looked for from where one is, without it in the folder.
    path = Path(file) if file else folder / "Dockerfile"
    if file and not path.exists() and (folder / file).exists():
        path = folder / file
    if not path.exists():
        return Target({"name": _name(folder)}, folder)
    text = _text_of(path)
    try:
        inside = path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return Target({"dockerfile_text": text, "name": _name(folder)}, folder, text)
    return Target({"dockerfile": inside, "name": _name(folder)}, folder, text)


def _name(folder: Path) -> str:
    return folder.resolve().name or "/"


def _from_stdin(file: str | None) -> Target:
    """A Dockerfile, or an archive that is the context."""
    first = sys.stdin.buffer.peek(512) if hasattr(sys.stdin.buffer, "peek") else b""
    if first.startswith(_ARCHIVES) or first[257:262] == b"ustar":
        return Target({"dockerfile": file or "Dockerfile", "name": "stdin"})
    text = sys.stdin.read()
    if not text.strip():
        raise CliError("There is no Dockerfile and no archive on stdin.", code="NO_CONTEXT")
    return Target({"dockerfile_text": text}, None, text)


def _is_remote(path: str) -> bool:
    return "://" in path or path.startswith(("github.com/", "gitlab.com/", "git@"))


def parse_destination(out: str | None) -> tuple[str, str] | None:
    """``dir`` or ``tar``, and where; None: an image."""
    if out is None or out in ("type=image", "type=docker"):
        return None
    if out == "-":
        return "tar", "-"
    if "=" not in out:
        return "dir", out
    parts = dict(part.partition("=")[::2] for part in out.split(","))
    kinds = {"tar": "tar", "local": "dir"}
    if parts.get("type") not in kinds or not parts.get("dest"):
        raise Misused(f"--output {out!r}: a directory, type=local,dest=DIR or type=tar,dest=FILE is needed.")
    return kinds[parts["type"]], parts["dest"]
