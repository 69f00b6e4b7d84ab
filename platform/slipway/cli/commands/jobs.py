"""`jobs`: what is queued, runs and has run in a project."""

from __future__ import annotations

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
    complete_jobs,
    session_of,
)
from slipway.cli.sizes import now, show_bytes, since

jobs = typer.Typer(help="Imports and other work of a project.", invoke_without_command=True)
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Its id or the beginning.", autocompletion=complete_jobs)
]
ActiveOption = Annotated[bool, typer.Option("--active", "-a", help="Only what is queued or running.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="The newest so many.")]


@jobs.callback()
def _jobs(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List the newest jobs."""
    session = session_of(ctx).heed(project=project, json=as_json)
    if ctx.invoked_subcommand is None:
        _list(session, active=False, limit=20)


@jobs.command("list")
def list_jobs(
    ctx: typer.Context,
    active: ActiveOption = False,
    limit: LimitOption = 20,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    _list(session_of(ctx).heed(project=project, json=as_json), active=active, limit=limit)


def _list(session: Session, *, active: bool, limit: int) -> None:
    from itertools import islice

    query = {"active": active, "limit": max(1, min(limit, 200))}
    found = list(islice(session.client.items(session.below("jobs"), query), max(0, limit)))
    if session.json:
        output.print_json(found)
        return
    rows = [
        (
            each["id"][:12],
            each["kind"],
            each["subject"],
            _state(each),
            each["created_by"],
            since(each["created_at"], now()),
        )
        for each in found
    ]
    output.print_table(("ID", "KIND", "ABOUT", "STATE", "BY", "AGE"), rows, empty="No jobs.")


def _state(job: dict[str, Any]) -> str:
    if job.get("cancelling"):
        return "cancelling"
    if job["state"] == "queued" and job.get("waits_for"):
        place = f", number {job['position']}" if job.get("position") else ""
        return f"queued (waits for {job['waits_for']}{place})"
    if job["state"] == "running" and job["total"]:
        return f"running {100 * job['done'] // job['total']} %"
    return f"failed {job['cause']['code']}" if job["cause"] else str(job["state"])


def path_of(session: Session, job: str) -> str:
    """Of the job, by its id or by a beginning of at least six digits that fits one of the newest 200."""
    if 6 <= len(job) < 32:
        page = session.client.get(session.below("jobs"), {"limit": 200})
        fitting = [each["id"] for each in page["items"] if each["id"].startswith(job)]
        if len(fitting) == 1:
            return session.below("jobs", fitting[0])
    return session.below("jobs", job)


@jobs.command("show")
def show(ctx: typer.Context, job: JobId, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Everything about a job."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.get(path_of(session, job))
    if session.json:
        output.print_json(found)
        return
    output.print_facts(_facts(found))


def _facts(job: dict[str, Any]) -> list[tuple[str, Any]]:
    amount = f"{show_bytes(job['done'])} of {show_bytes(job['total'])}" if job["total"] else ""
    cause = f"{job['cause']['message']} ({job['cause']['code']})" if job["cause"] else ""
    names = ("created_by", "created_at", "started_at", "ended_at")
    return [
        *((name, job[name]) for name in ("id", "kind", "subject", "state", "detail")),
        ("waits for", job.get("waits_for")),
        ("place", job.get("position")),
        ("done", amount),
        ("cause", cause),
        *((name.replace("_", " "), job[name]) for name in names),
    ]


@jobs.command("follow")
def follow(
    ctx: typer.Context, job: JobId, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Wait for a job; ends with 0 if it succeeded, else with 1. Ctrl-C leaves the job alone."""
    from slipway.cli import jobs as following

    session = session_of(ctx).heed(project=project, json=as_json)
    found = following.follow(session.client, path_of(session, job), quiet=session.json)
    output.print_json(found) if session.json else print(found["state"])
    following.check(found)


@jobs.command("logs")
def logs(
    ctx: typer.Context,
    job: JobId,
    follow: FollowOption = False,
    tail: TailOption = None,
    timestamps: TimestampsOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a job wrote; its complaints go to stderr. With --json one entry a line."""
    from slipway.cli.following import print_log

    session = session_of(ctx).heed(project=project, json=as_json)
    path = f"{path_of(session, job)}/logs"
    print_log(session.client, path, follow=follow, tail=tail, timestamps=timestamps, as_json=session.json)


@jobs.command("cancel")
def cancel(
    ctx: typer.Context, job: JobId, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Cancel a job that has not ended."""
    from slipway.cli import jobs as following

    session = session_of(ctx).heed(project=project, json=as_json)
    path = path_of(session, job)
    session.client.get(path)  # an unknown job is told apart from a server that cannot cancel
    try:
        found = session.client.post(f"{path}/cancel")
    except Problem as error:
        if error.status in (404, 405):
            raise CliError(
                "This server cannot cancel jobs.", code="NOT_SUPPORTED", hint="Upgrade it."
            ) from error
        raise
    asked = found["state"] not in following.ENDED
    output.print_json(found) if session.json else print("Being cancelled." if asked else found["state"])


@jobs.command("retry")
def retry(ctx: typer.Context, job: JobId, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Do a failed or cancelled job again, as a new one, and print its id."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.post(f"{path_of(session, job)}/retry")
    output.print_json(found) if session.json else print(found["id"])


def add_to(app: typer.Typer) -> None:
    app.add_typer(jobs, name="jobs")
