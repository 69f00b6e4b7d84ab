"""`ps`, `logs`, `stop`, `start`, `kill`, `rm`, `inspect`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import CliError, Problem
from slipway.cli.session import (
    FollowOption,
    JsonOption,
    ProjectOption,
    Session,
    TailOption,
    TimestampsOption,
    complete_containers,
    session_of,
)
from slipway.cli.sizes import now, since

Name = Annotated[
    str, typer.Argument(metavar="CONTAINER", help="Its name or id.", autocompletion=complete_containers)
]
Names = Annotated[
    list[str],
    typer.Argument(metavar="CONTAINER...", help="Names or ids.", autocompletion=complete_containers),
]


def ps(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that do not run, too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only ids.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List containers, newest first."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = list(session.client.items(session.below("containers"), {"all": all_}))
    if session.json:
        output.print_json(found)
    elif quiet:
        print(*(each["id"] for each in found), sep="\n", end="\n" if found else "")
    else:
        empty = (
            f"No containers in {session.project_path}." if all_ else "Nothing runs; `ps -a` shows the rest."
        )
        rows = [
            (each["name"], each["image"], _status(each), each["address"], each["id"][:12]) for each in found
        ]
        output.print_table(("NAME", "IMAGE", "STATE", "ADDRESS", "ID"), rows, empty=empty)


def _status(container: dict[str, Any]) -> str:
    state, time = container["state"], now()
    if container["pending"] and container["desired"] == "running":
        return "starting"
    if container["pending"] and container["desired"] == "exited":
        return "stopping"
    if state == "running":
        return f"running {since(container['started_at'], time)}"
    cause = container["cause"]
    if state == "created" and cause:
        return f"failed {cause['code']}"
    if state == "exited":
        code = "out of memory" if container["oom_killed"] else container["exit_code"]
        ended = f" {since(container['finished_at'], time)} ago" if container["finished_at"] else ""
        return f"exited ({'?' if code is None else code}){ended}"
    return str(state)


def inspect(
    ctx: typer.Context, name: Name, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Everything about a container, or else an image, as JSON."""
    session = session_of(ctx).heed(project=project, json=as_json)
    output.print_json(_found(session, name))


def _found(session: Session, name: str) -> Any:
    try:
        return session.client.get(session.below("containers", name))
    except Problem as error:
        if error.code != "CONTAINER_UNKNOWN":
            raise
        try:
            return session.client.get(session.below("images", name))
        except Problem:
            raise error from None


def logs(
    ctx: typer.Context,
    name: Name,
    follow: FollowOption = False,
    tail: TailOption = None,
    timestamps: TimestampsOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a container's log; what it wrote to stderr goes to stderr. With --json one entry a line."""
    from slipway.cli.following import print_log

    session = session_of(ctx).heed(project=project, json=as_json)
    path = session.below("containers", name, "logs")
    print_log(session.client, path, follow=follow, tail=tail, timestamps=timestamps, as_json=session.json)


# --------------------------------------------------------------------------- what is asked of several

Act = Callable[[str], dict[str, Any]]


def each_of(session: Session, names: list[str], act: Act) -> None:
    """Do ``act`` to all of them, whichever fails; raise ``Exit`` with the code of the first that did."""
    failed: list[CliError] = []
    done: list[dict[str, Any]] = []
    for name in names:
        try:
            done.append(act(name))
        except CliError as error:
            failed.append(error)
            output.complain(f"{name}: {error.sentence()}")
        else:
            if not session.json:
                print(name, flush=True)
    if session.json:
        output.print_json(done)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def stop(
    ctx: typer.Context,
    names: Names,
    timeout: Annotated[float, typer.Option("--timeout", "-t", help="Seconds until SIGKILL.")] = 10.0,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop containers and wait until they have ended."""
    from slipway.cli.running import wait

    session = session_of(ctx).heed(project=project, json=as_json)

    def act(name: str) -> dict[str, Any]:
        path = session.below("containers", name)
        session.client.post(f"{path}/stop", {"timeout": timeout})
        return wait(session.client, path)

    each_of(session, names, act)


def start(
    ctx: typer.Context, names: Names, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Start containers that have ended or never ran, and see them run."""
    session = session_of(ctx).heed(project=project, json=as_json)

    def act(name: str) -> dict[str, Any]:
        path = session.below("containers", name)
        session.client.post(f"{path}/start")
        return _started(session, path)

    each_of(session, names, act)


def _started(session: Session, path: str) -> dict[str, Any]:
    """The container once its node has answered. Raise ``CliError`` when it could not start."""
    import time

    deadline = time.monotonic() + 60.0
    pause = 0.05
    while (container := session.client.get(path))["pending"]:
        if time.monotonic() > deadline:
            raise CliError(
                "The node has not answered for a minute; it will start as soon as the node is back.",
                code="NODE_SILENT",
                hint="`slipway doctor` tells more.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    cause = container["cause"]
    if cause and container["state"] != "running" and container["finished_at"] is None:
        raise CliError(cause["message"], code=cause["code"])
    return dict(container)


def kill(
    ctx: typer.Context,
    names: Names,
    signal: Annotated[str, typer.Option("--signal", "-s", help="As SIGTERM, TERM or 15.")] = "SIGKILL",
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a signal to the containers' first process."""
    session = session_of(ctx).heed(project=project, json=as_json)

    def act(name: str) -> dict[str, Any]:
        path = session.below("containers", name)
        session.client.post(f"{path}/kill", {"signal": signal})
        return dict(session.client.get(path))

    each_of(session, names, act)


def rm(
    ctx: typer.Context,
    names: Names,
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill them first if they run.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove containers and wait until they are gone; their logs stay readable by their ids."""
    from slipway.cli.running import wait

    session = session_of(ctx).heed(project=project, json=as_json)

    def act(name: str) -> dict[str, Any]:
        gone = session.client.delete(session.below("containers", name), {"force": force})
        return wait(session.client, session.below("containers", gone["id"]), "removed")

    each_of(session, names, act)


def add_to(app: typer.Typer) -> None:
    for command in (ps, inspect, logs, stop, start, kill, rm):
        app.command()(command)
