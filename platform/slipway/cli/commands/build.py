"""`build`: an image from a folder, a repository or a Dockerfile."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import CliError, Exit, Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, session_of

if TYPE_CHECKING:
    from slipway.cli.building import Build

PROGRESS = ("auto", "plain", "tty", "quiet")
_ARCHIVES = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")


@dataclass(frozen=True)
class Target:
    """What is built: ``body`` for the request, and where the context comes from."""

    body: dict[str, Any]
    folder: Path | None = None
    dockerfile: str | None = None
    """Its text, where it is known here."""


def _pairs(given: list[str] | None, option: str, *, from_environment: bool = False) -> dict[str, str]:
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


def _target(path: str, file: str | None) -> Target:
    if path == "-":
        return _from_stdin(file)
    if _is_remote(path):
        return Target({"remote": path, "dockerfile": file or "Dockerfile"})
    folder = Path(path)
    if not folder.is_dir():
        raise CliError(
            f"{path} is no directory and no repository's address.",
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


def build(
    ctx: typer.Context,
    path: Annotated[
        str, typer.Argument(metavar="PATH|URL|-", help="Folder, repository, or - for stdin.")
    ] = ".",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", metavar="NAME[:TAG]", help="Name it.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Else PATH/Dockerfile; - for stdin.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="STAGE", help="Else the last one.")
    ] = None,
    build_arg: Annotated[
        list[str] | None, typer.Option("--build-arg", metavar="NAME[=VALUE]", help="For ARG.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Added.")] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="id=ID,src=FILE|env=NAME", help="For RUN --mount=type=secret."),
    ] = None,
    build_context: Annotated[
        list[str] | None, typer.Option("--build-context", metavar="NAME=REFERENCE|URL", help="One more.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do every step anew.")] = False,
    no_cache_filter: Annotated[
        list[str] | None, typer.Option("--no-cache-filter", metavar="STAGE", help="Do this stage anew.")
    ] = None,
    pull: Annotated[bool, typer.Option("--pull", help="Ask registries for newer base images.")] = False,
    cache_from: Annotated[
        list[str] | None, typer.Option("--cache-from", metavar="REF", help="Cache.")
    ] = None,
    cache_to: Annotated[list[str] | None, typer.Option("--cache-to", metavar="REF", help="Cache.")] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="OS/ARCH", help="Else the node's.")
    ] = None,
    network: Annotated[str, typer.Option("--network", metavar="default|none", help="Of RUN.")] = "default",
    add_host: Annotated[
        list[str] | None, typer.Option("--add-host", metavar="NAME:ADDRESS", help="For RUN.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", "-m", metavar="SIZE", help="For the build.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAME", help="Take the place of the group's builds that wait."),
    ] = None,
    progress: Annotated[
        str, typer.Option("--progress", metavar="|".join(PROGRESS), help="How to show it.")
    ] = "auto",
    out: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="DEST", help="A directory, or type=tar,dest=FILE (- for stdout)."
        ),
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Print a Dockerfile for a folder that has none, and end.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the image's id.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the build's number and end.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an image. Of a folder only what has changed is sent. Ctrl-C cancels the build.

    Ends with 0 if it succeeded, with 1 if not; the image's id is printed on stdout.
    """
    from slipway.cli import building
    from slipway.cli.sizes import parse_bytes

    session = session_of(ctx).heed(project=project, json=as_json)
    if progress not in PROGRESS:
        raise Misused(f"--progress {progress}: one of {', '.join(PROGRESS)} is needed.")
    wanted = _target(path, file)
    destination = _destination(out)
    options = {
        "tags": tag,
        "target": target,
        "args": _pairs(build_arg, "--build-arg", from_environment=True),
        "labels": _pairs(label, "--label"),
        "contexts": _pairs(build_context, "--build-context"),
        "secrets": parse_secrets(secret),
        "no_cache": no_cache,
        "no_cache_filter": no_cache_filter,
        "pull": pull,
        "cache_from": cache_from,
        "cache_to": cache_to,
        "platform": platform,
        "network": network,
        "extra_hosts": add_host,
        "memory_bytes": parse_bytes(memory, "--memory") if memory else None,
        "group": group,
        "output": "tar" if destination else None,
        **wanted.body,
    }
    body = {name: value for name, value in options.items() if value not in (None, [], {}, False)}
    is_silent = quiet or session.json
    made = _ask(session, wanted, body, path, quiet=is_silent)
    address = session.below("builds", str(made["number"]))
    if detach:
        output.print_json(made) if session.json else print(made["number"])
        return
    with building.view(progress, quiet=is_silent) as shown:
        done = building.watch_or_cancel(session.client, address, shown)
    if propose and _proposal(done):
        print(_proposal(done), end="")
        return
    _finish(session, done, wanted, address, destination, quiet=is_silent)


def _ask(session: Session, wanted: Target, body: dict[str, Any], path: str, *, quiet: bool) -> Build:
    from slipway.cli import folders

    builds = session.below("builds")
    if wanted.folder is not None:
        dockerfile = body.get("dockerfile", "Dockerfile")
        folder = folders.scan(wanted.folder, folders.read_ignore(wanted.folder, dockerfile), quiet=quiet)
        if wanted.dockerfile is not None and dockerfile not in folder.paths:
            # The ignore file leaves it out: it is read, but not part of the context.
            body = {
                **{name: value for name, value in body.items() if name != "dockerfile"},
                "dockerfile_text": wanted.dockerfile,
            }
        return folders.build(session.client, builds, folder, body, quiet=quiet)
    if path == "-" and wanted.dockerfile is None:
        return _send_archive(session, builds, body)
    made: Build = session.client.post(builds, body)
    return made


def _proposal(build: Build) -> str:
    return str(((build["cause"] or {}).get("facts") or {}).get("proposal") or "")


def _send_archive(session: Session, builds: str, body: dict[str, Any]) -> Build:
    """Options go in the address, where secrets have no place."""
    import json

    if body.get("secrets"):
        raise Misused("--secret cannot go with an archive from stdin; unpack it and build the folder.")
    query = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in body.items()}
    made: Build = session.client.upload(builds, query, sys.stdin.buffer, None, "application/x-tar")
    return made


def _destination(out: str | None) -> tuple[str, str] | None:
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


def _finish(
    session: Session,
    done: Build,
    wanted: Target,
    address: str,
    destination: tuple[str, str] | None,
    *,
    quiet: bool,
) -> None:
    from slipway.cli import building

    if session.json:
        output.print_json(done)
    elif not quiet:
        for line in (*done["notes"], *done["warnings"]):
            output.remark(f"warning: {line}")
        if proposal := _proposal(done):
            title = done["cause"]["facts"].get("title")
            output.remark(f"There is no Dockerfile, and this looks like {title}. A proposal:")
            print(building.clean_lines(proposal), file=sys.stderr)
            output.remark(
                "`slipway build --propose PATH > PATH/Dockerfile` writes it, to look at and change."
            )
    building.check(done, wanted.dockerfile)
    if destination is not None:
        from slipway.cli import outputs

        outputs.fetch(session.client, f"{address}/output", *destination, quiet=quiet)
    elif not session.json:
        for name in () if quiet else done["tags"]:
            output.remark(f"Named {name}")
        print(done["image"])


def add_to(app: typer.Typer) -> None:
    app.command()(build)
