"""`teams`, `projects`, `tokens`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from slipway.cli import config, output
from slipway.cli.errors import Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, complete_projects, session_of
from slipway.cli.sizes import now, show_bytes, show_span, since

teams = typer.Typer(help="Your teams.", invoke_without_command=True)
projects = typer.Typer(help="Projects of your teams.", invoke_without_command=True)
tokens = typer.Typer(help="Your tokens.", invoke_without_command=True)
SCOPES = ("read", "write", "admin")


# --------------------------------------------------------------------------- teams


@teams.callback()
def _teams(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List your teams and your role in each."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is None:
        _list_teams(session)


@teams.command("list")
def list_teams(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List your teams and your role in each."""
    _list_teams(session_of(ctx).heed(json=as_json))


def _list_teams(session: Session) -> None:
    found = list(session.client.items("/teams"))
    if session.json:
        output.print_json(found)
        return
    roles = session.client.get("/me")["roles"]
    rows = [(each["slug"], each["name"], roles.get(each["slug"])) for each in found]
    output.print_table(
        ("TEAM", "NAME", "ROLE"), rows, empty="No teams. `slipway teams create SLUG` founds one."
    )


@teams.command("create")
def create_team(
    ctx: typer.Context,
    slug: Annotated[str, typer.Argument(help="2 to 30 lower-case letters, digits, hyphens.")],
    name: Annotated[str, typer.Option("--name", help="For people.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Found a team and own it."""
    session = session_of(ctx).heed(json=as_json)
    team = session.client.post("/teams", {"slug": slug, "name": name})
    output.print_json(team) if session.json else print(team["slug"])


@teams.command("members")
def members(
    ctx: typer.Context, team: Annotated[str, typer.Argument(metavar="TEAM")], as_json: JsonOption = False
) -> None:
    """List the members of a team."""
    from slipway.cli.client import at

    session = session_of(ctx).heed(json=as_json)
    found = list(session.client.items(at("teams", team, "members")))
    if session.json:
        output.print_json(found)
        return
    rows = [(each["username"], each["name"], each["role"], since(each["since"], now())) for each in found]
    output.print_table(("USER", "NAME", "ROLE", "FOR"), rows, empty="No members.")


@teams.command("weight")
def weight(
    ctx: typer.Context,
    team: Annotated[str, typer.Argument(metavar="TEAM")],
    turns: Annotated[
        int | None, typer.Argument(metavar="[N]", min=1, max=100, help="Administrators set it: 1 to 100.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How many turns a team gets in the queue of builds where another has one."""
    from slipway.cli.client import at

    session = session_of(ctx).heed(json=as_json)
    path = at("teams", team, "weight")
    found = session.client.get(path) if turns is None else session.client.put(path, {"weight": turns})
    output.print_json(found) if session.json else print(found["weight"])


# --------------------------------------------------------------------------- projects


@projects.callback()
def _projects(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List projects; the one used where none is named has a star."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is None:
        _list_projects(session)


@projects.command("list")
def list_projects(
    ctx: typer.Context,
    team: Annotated[str | None, typer.Option("--team", help="Only this team's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List projects; the one used where none is named has a star."""
    _list_projects(session_of(ctx).heed(json=as_json), team)


def _list_projects(session: Session, team: str | None = None) -> None:
    found = list(session.client.items("/projects", {"team": team}))
    if session.json:
        output.print_json(found)
        return
    chosen = session.project or session.environ.get("SLIPWAY_PROJECT") or session.place.project
    rows = [
        (
            "*" if each["path"] == chosen else " ",
            each["path"],
            each["name"],
            each["node"],
            _maxima(each["maxima"]),
        )
        for each in found
    ]
    output.print_table(
        ("", "PROJECT", "NAME", "NODE", "MOST OF ONE CONTAINER"),
        rows,
        empty="No projects. `slipway projects create TEAM/PROJECT` makes one.",
    )


def _maxima(maxima: dict[str, int]) -> str:
    memory, cpus = show_bytes(maxima["memory_bytes"]), maxima["cpu_millis"] / 1000
    return f"{memory}, {cpus:g} CPUs, {maxima['pids']} processes"


ProjectPath = Annotated[
    str, typer.Argument(metavar="TEAM/PROJECT", autocompletion=complete_projects, show_default=False)
]


@projects.command("create")
def create_project(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="TEAM/PROJECT")],
    name: Annotated[str, typer.Option("--name", help="For people.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Create a project in a team of yours."""
    session = session_of(ctx).heed(json=as_json)
    team, slug = config.check_project(path).split("/")
    project = session.client.post("/projects", {"team": team, "slug": slug, "name": name})
    output.print_json(project) if session.json else print(project["path"])


@projects.command("use")
def use_project(ctx: typer.Context, path: ProjectPath) -> None:
    """Make a project the one used where none is named, in the current context."""
    session = session_of(ctx)
    session.client.get(f"/projects/{config.check_project(path)}")
    place = session.config.get(session.context_name)
    kept = session.config.current
    changed = session.config.with_context(session.context_name, config.Context(place.url, place.token, path))
    config.write(session.config_path, changed.using(kept) if kept in changed.contexts else changed)
    print(f"{path} is used where no project is named.")


# --------------------------------------------------------------------------- tokens


@tokens.callback()
def _tokens(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List your tokens, newest first."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is None:
        _list_tokens(session)


@tokens.command("list")
def list_tokens(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List your tokens, newest first."""
    _list_tokens(session_of(ctx).heed(json=as_json))


@tokens.command("robots")
def list_robots(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List a project's robots, and all tokens bound to it."""
    session = session_of(ctx).heed(project=project, json=as_json)
    _list_tokens(session, session.below("tokens"))


def _list_tokens(session: Session, path: str = "/tokens") -> None:
    found = list(session.client.items(path))
    if session.json:
        output.print_json(found)
        return
    rows = [
        (
            each["id"][:12],
            each["name"],
            f"slp_{each['prefix']}_…",
            " ".join(each["scopes"]),
            each["project"],
            _validity(each),
            since(each["last_used_at"], now()),
        )
        for each in found
    ]
    header = ("ID", "NAME", "TOKEN", "SCOPES", "PROJECT", "STATE", "LAST USED")
    output.print_table(header, rows, empty="No tokens.")


def _validity(token: dict[str, Any]) -> str:
    if token["revoked_at"]:
        return "revoked"
    if not token["expires_at"]:
        return "valid"
    left = datetime.fromisoformat(token["expires_at"]) - now()
    return f"valid for {show_span(left.total_seconds())}" if left > timedelta() else "expired"


@tokens.command("create")
def create_token(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", "-s", help="read, write or admin; may be repeated.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DAYS|DATE", help="Else it does not expire.")
    ] = None,
    robot: Annotated[bool, typer.Option("--robot", help="Of the project: it stays when you leave.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a token and print it: it is shown now and never again. With --project it opens nothing else."""
    session = session_of(ctx).heed(json=as_json)
    scopes = scope or ["read"]
    if unknown := [each for each in scopes if each not in SCOPES]:
        raise Misused(f"--scope {unknown[0]!r}: there are {', '.join(SCOPES)}.")
    body: dict[str, Any] = {"name": name, "scopes": scopes, "expires_at": _expiry(expires)}
    if project or robot:
        body["project"] = config.check_project(project) if project else session.project_path
    if robot:
        body["robot"] = True
    token = session.client.post("/tokens", body)
    output.print_json(token) if session.json else print(token["token"])


def _expiry(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if text.isdigit():
            return (now() + timedelta(days=int(text))).isoformat()
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise Misused(
            f"--expires {text[:40]!r}: a number of days or a date like 2027-01-31 is needed."
        ) from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat()


@tokens.command("revoke")
def revoke_token(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(help="Its id, the beginning of that, its prefix or its name.")],
    project: ProjectOption = None,
) -> None:
    """Revoke a token: it opens nothing any more. With --project also one of its robots."""
    from slipway.cli.client import at

    session = session_of(ctx).heed(project=project)
    known = list(session.client.items("/tokens"))
    if project:
        known += session.client.items(session.below("tokens"))
    found = {each["id"]: each["name"] for each in known if _is_meant(each, token)}
    if len(found) > 1:
        raise Misused(
            f"{token[:60]!r} fits {len(found)} tokens.", "Name it by its id: `slipway tokens --json`."
        )
    session.client.delete(at("tokens", *(found or [token])))
    print(f"Revoked {next(iter(found.values()), token)}.")


def _is_meant(token: dict[str, Any], text: str) -> bool:
    """A revoked one can be meant only by its id: its name may have a successor."""
    if token["revoked_at"] or token["id"] == text:
        return bool(token["id"] == text)
    prefix = text.removeprefix("slp_").partition("_")[0]
    begins = len(text) >= 6 and token["id"].startswith(text)
    return begins or text == token["name"] or prefix == token["prefix"]


def add_to(app: typer.Typer) -> None:
    app.add_typer(teams, name="teams")
    app.add_typer(projects, name="projects")
    app.add_typer(tokens, name="tokens")
