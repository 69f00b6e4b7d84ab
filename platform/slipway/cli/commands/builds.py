"""`builds`: what was built in a project, what builds wrote, and what can be done with them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.session import (
    FollowOption,
    JsonOption,
    ProjectOption,
    Session,
    TailOption,
    TimestampsOption,
    session_of,
)
from slipway.cli.sizes import now, since

builds = typer.Typer(help="Builds of a project.", invoke_without_command=True)
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As `slipway builds` shows it.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="The newest so many.")]
StateOption = Annotated[
    str | None, typer.Option("--state", help="queued, building, succeeded, failed, cancelled.")
]


@builds.callback()
def _builds(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List the newest builds."""
    session = session_of(ctx).heed(project=project, json=as_json)
    if ctx.invoked_subcommand is None:
        _list(session, state=None, limit=20)


@builds.command("list")
def list_builds(
    ctx: typer.Context,
    state: StateOption = None,
    limit: LimitOption = 20,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List builds, newest first."""
    _list(session_of(ctx).heed(project=project, json=as_json), state=state, limit=limit)


def _list(session: Session, *, state: str | None, limit: int) -> None:
    from itertools import islice

    query = {"limit": max(1, min(limit, 200)), **({"state": state} if state else {})}
    found = list(islice(session.client.items(session.below("builds"), query), max(0, limit)))
    if session.json:
        output.print_json(found)
        return
    rows = [
        (each["number"], each["title"], _state(each), each["created_by"], since(each["created_at"], now()))
        for each in found
    ]
    output.print_table(
        ("BUILD", "NAME", "STATE", "BY", "AGE"), rows, empty="No builds; `slipway build .` makes one."
    )


def _state(build: dict[str, Any]) -> str:
    if build["cancelling"]:
        return "cancelling"
    if build["waits_for"]:
        place = f", number {build['position']}" if build["position"] else ""
        return f"queued (waits for {build['waits_for']}{place})"
    return (
        f"failed {build['cause']['code']}"
        if build["cause"] and build["state"] == "failed"
        else str(build["state"])
    )


@builds.command("show")
def show(
    ctx: typer.Context, number: Number, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Everything about a build, step by step."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.get(session.below("builds", number))
    if session.json:
        output.print_json(found)
        return
    cause = f"{found['cause']['message']} ({found['cause']['code']})" if found["cause"] else ""
    output.print_facts(
        [
            ("build", f"#{found['number']} {found['title']}"),
            ("state", _state(found)),
            ("cause", cause),
            ("image", found["image"]),
            ("names", " ".join(found["tags"])),
            ("created by", found["created_by"]),
            *((name.replace("_", " "), found[name]) for name in ("created_at", "started_at", "ended_at")),
        ]
    )
    rows = [
        (
            step["id"],
            step["state"],
            "" if step["seconds"] is None else f"{step['seconds']:.1f} s",
            step["name"],
        )
        for step in found["steps"]
    ]
    if rows:
        print()
        output.print_table(("STEP", "STATE", "TOOK", "NAME"), rows, empty="")


@builds.command("logs")
def logs(
    ctx: typer.Context,
    number: Number,
    follow: FollowOption = False,
    tail: TailOption = None,
    timestamps: TimestampsOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a build's steps wrote; their complaints go to stderr. With --json one entry a line."""
    from slipway.cli.following import print_log

    session = session_of(ctx).heed(project=project, json=as_json)
    path = session.below("builds", number, "logs")
    print_log(session.client, path, follow=follow, tail=tail, timestamps=timestamps, as_json=session.json)


@builds.command("follow")
def follow(
    ctx: typer.Context,
    number: Number,
    progress: Annotated[
        str, typer.Option("--progress", metavar="auto|plain|tty", help="How to show it.")
    ] = "auto",
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a build to its end; ends with 0 if it succeeded, else with 1. Ctrl-C leaves the build alone."""
    from slipway.cli import building

    session = session_of(ctx).heed(project=project, json=as_json)
    with building.view(progress, quiet=session.json) as shown:
        done = building.watch(session.client, session.below("builds", number), shown)
    output.print_json(done) if session.json else print(done["image"] or done["state"])
    building.check(done, done["options"].get("dockerfile_text"))


@builds.command("cancel")
def cancel(
    ctx: typer.Context, number: Number, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Cancel a build that has not ended."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.post(session.below("builds", number, "cancel"))
    output.print_json(found) if session.json else print(
        "Being cancelled." if found["cancelling"] else found["state"]
    )


@builds.command("prune")
def prune(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Forget what the node keeps for the project's next builds; images stay."""
    from slipway.cli import jobs

    session = session_of(ctx).heed(project=project, json=as_json)
    job = session.client.post(session.below("builds", "prune"))
    job = jobs.follow(session.client, session.below("jobs", job["id"]), quiet=session.json)
    output.print_json(job) if session.json else print(job["detail"] or job["state"])
    jobs.check(job)


@builds.command("retry")
def retry(
    ctx: typer.Context,
    number: Number,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do every step anew.")] = False,
    secret: Annotated[
        list[str] | None, typer.Option("--secret", metavar="id=ID,src=FILE|env=NAME", help="Those it used.")
    ] = None,
    build_context: Annotated[
        list[str] | None,
        typer.Option("--build-context", metavar="NAME=URL", help="Again, where its address had a password."),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the repository's password from stdin.")
    ] = False,
    ssh: Annotated[list[str] | None, typer.Option("--ssh", metavar="ID=FILE", help="Keys it used.")] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the same once more, as a new build, and print its number."""
    from slipway.cli.targets import parse_pairs, parse_secrets, parse_ssh

    session = session_of(ctx).heed(project=project, json=as_json)
    body: dict[str, Any] = {"no_cache": no_cache, "secrets": parse_secrets(secret)}
    if build_context:
        body["contexts"] = parse_pairs(build_context, "--build-context")
    if password_stdin:
        body["password"] = sys.stdin.readline().rstrip("\r\n")
    if ssh:
        body["ssh"] = parse_ssh(ssh)
    found = session.client.post(session.below("builds", number, "retry"), body)
    output.print_json(found) if session.json else print(found["number"])


def add_to(app: typer.Typer) -> None:
    app.add_typer(builds, name="builds")
