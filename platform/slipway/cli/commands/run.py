"""`run`: create a container, follow its output, end as it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import CliError, Exit, Misused
from slipway.cli.parameters import RunCommand
from slipway.cli.session import JsonOption, ProjectOption, Session, complete_images, session_of
from slipway.cli.sizes import parse_bytes, parse_cpus

Texts = list[str] | None
Command = Annotated[Texts, typer.Argument(metavar="COMMAND")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", autocompletion=complete_images)]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Print the id and leave it running.")]
Remove = Annotated[bool, typer.Option("--rm", help="Remove it once it has ended.")]
Name = Annotated[str | None, typer.Option("--name", help="Two words are made up if none is given.")]
Env = Annotated[
    Texts, typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Without a value: as it is here.")
]
Memory = Annotated[str | None, typer.Option("--memory", "-m", metavar="SIZE", help="512m, 2g …")]
Cpus = Annotated[str | None, typer.Option("--cpus", metavar="CORES", help="0.5, 2 …")]
Pids = Annotated[int | None, typer.Option("--pids", metavar="NUMBER", help="The most processes and threads.")]
Entrypoint = Annotated[str | None, typer.Option("--entrypoint", help="In place of the image's.")]
Workdir = Annotated[str | None, typer.Option("--workdir", "-w", metavar="PATH", help="Where it starts.")]
User = Annotated[str | None, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="By name or number.")]
Label = Annotated[Texts, typer.Option("--label", "-l", metavar="NAME=VALUE", help="May be repeated.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Its root file system.")]
Timestamps = Annotated[bool, typer.Option("--timestamps", help="Before each line of output.")]


def run(
    ctx: typer.Context,
    image: Image,
    command: Command = None,
    detach: Detach = False,
    remove: Remove = False,
    name: Name = None,
    env: Env = None,
    memory: Memory = None,
    cpus: Cpus = None,
    pids: Pids = None,
    entrypoint: Entrypoint = None,
    workdir: Workdir = None,
    user: User = None,
    label: Label = None,
    read_only: ReadOnly = False,
    timestamps: Timestamps = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a program in a new container. Ends with its exit code, or with 125 when Slipway itself failed.

    Ctrl-C stops the container; a second one kills it; a third one leaves it alone.
    """
    session = session_of(ctx).heed(project=project, json=as_json)
    with _failing_with_125():
        body: dict[str, Any] = {"image": image, "name": name, "command": command or None, "start": True}
        body |= {"working_dir": workdir, "user": user, "read_only": read_only, "labels": labels(label or [])}
        body |= {"env": variables(env or []), "entrypoint": [entrypoint] if entrypoint else None}
        body |= {"limits": limits(memory, cpus, pids)}
        if detach:
            raise typer.Exit(_detached(session, body, remove))
        raise typer.Exit(_attached(session, body, remove, timestamps))


@contextmanager
def _failing_with_125() -> Iterator[None]:
    """Our own errors must not look like the program's; 126 and 127 say that it could not be started."""
    try:
        yield
    except CliError as error:
        error.exit_code = max(error.exit_code, Exit.RUN_FAILED)
        raise


def variables(given: list[str]) -> list[str]:
    """``NAME=value`` as it is; ``NAME`` with its value from here, or not at all where it has none."""
    return [
        each if "=" in each else f"{each}={os.environ[each]}"
        for each in given
        if "=" in each or each in os.environ
    ]


def labels(given: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in given)}


def limits(memory: str | None, cpus: str | None, pids: int | None) -> dict[str, int]:
    asked: dict[str, int] = {}
    if memory is not None:
        asked["memory_bytes"] = parse_bytes(memory, "--memory")
    if cpus is not None:
        asked["cpu_millis"] = parse_cpus(cpus)
    if pids is not None:
        asked["pids"] = pids
    return asked


def _detached(session: Session, body: dict[str, Any], remove: bool) -> int:
    from slipway.cli.running import create

    if remove:
        raise Misused("--rm goes with the foreground: somebody has to wait for the end.", "Leave out -d.")
    container = create(session.client, session.below("containers"), body)
    output.print_json(container) if session.json else print(container["id"])
    return 0


def _attached(session: Session, body: dict[str, Any], remove: bool, timestamps: bool) -> int:
    """The container's exit code; ``--rm`` holds however it ends."""
    import sys

    from slipway.cli import running
    from slipway.cli.following import LogPrinter

    below = session.below("containers")
    printer = LogPrinter(sys.stdout.buffer, sys.stderr.buffer, timestamps=timestamps, json=session.json)
    interrupts = running.Interrupts(session.client)
    with interrupts.heeded():
        created = running.create(session.client, below, body)
        path = running.path_of(below, created)
        interrupts.created(path, created["name"])
        ended = running.follow(session.client, path, printer)
    try:
        code = running.exit_code(ended)
    finally:
        if remove:
            running.remove(session.client, path)
    if session.json:
        output.print_line({"container": ended})
    elif ended["oom_killed"]:
        output.remark(f"slipway: {ended['name']} was killed: it reached its memory limit.")
    return code


def add_to(app: typer.Typer) -> None:
    # What stands behind the image belongs to the program, options too.
    app.command(cls=RunCommand, context_settings={"allow_interspersed_args": False})(run)
