"""`login`, `logout`, `contexts`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from slipway.cli import config, output
from slipway.cli.errors import CliError, Misused
from slipway.cli.session import JsonOption, complete_contexts, session_of

contexts = typer.Typer(help="The servers you have signed in to.", invoke_without_command=True)
ContextName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_contexts)]


def login(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="https://slipway.example.org")],
    name: Annotated[str | None, typer.Option("--name", help="Of the context; else the host's.")] = None,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")] = False,
    project: Annotated[
        str | None, typer.Option("--project", metavar="TEAM/PROJECT", help="Where none is named.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Sign in to a server with a token, made on the console's page Tokens. It becomes the current context."""
    from slipway.cli.addresses import is_exposed, name_of, parse_url
    from slipway.cli.client import Client

    session = session_of(ctx).heed(json=as_json)
    url = parse_url(url)
    name = config.check_name(name or session.context or name_of(url))
    if project:
        config.check_project(project)
    if is_exposed(url):
        output.remark(f"Warning: {url} is not encrypted; whoever listens on the way gets your token.")
    token = _token(from_stdin=token_stdin)
    client = Client(url, token)
    me = client.get("/me")
    if project:
        client.get(f"/projects/{project}")
    place = config.Context(url, token, project or "")
    config.write(session.config_path, session.config.with_context(name, place))
    if session.json:
        output.print_json({"context": name, "url": url, "me": me})
    else:
        print(f"Signed in to {url} as {who(me)}; context {name}.")


def _token(*, from_stdin: bool) -> str:
    """Never from the command line: other users of the machine see that."""
    if from_stdin:
        token = sys.stdin.readline().strip()
    elif sys.stdin.isatty():
        import getpass

        token = getpass.getpass("Token: ").strip()
    else:
        raise Misused("There is no terminal to type the token at.", "Give it to stdin, with --token-stdin.")
    if not token.startswith("slp_") or not token.isascii() or not token.isprintable() or " " in token:
        raise CliError(
            "This is not a Slipway token; they look like slp_<prefix>_<secret>.",
            code="TOKEN_INVALID",
            hint="Make one on the console's page Tokens.",
        )
    return token


def who(me: dict[str, object]) -> str:
    """A person, or a project's robot."""
    user, token = me.get("user"), me.get("token")
    if isinstance(user, dict):
        return str(user["username"])
    return f"the robot {token['name']}" if isinstance(token, dict) else "somebody"


def logout(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(autocompletion=complete_contexts)] = None,
) -> None:
    """Forget a context and its token here; `tokens revoke` ends the token itself."""
    session = session_of(ctx)
    name = name or session.context_name
    if not name:
        raise Misused("You have not signed in to a server.")
    session.config.get(name)
    config.write(session.config_path, session.config.without(name))
    print(f"Forgot {name}.")


@contexts.callback()
def list_contexts(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The servers you have signed in to; the current one has a star."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is not None:
        return
    rows = [
        {"name": name, "url": place.url, "project": place.project, "current": name == session.context_name}
        for name, place in session.config.contexts.items()
    ]
    if session.json:
        output.print_json(rows)
        return
    output.print_table(
        ("", "NAME", "SERVER", "PROJECT"),
        [("*" if row["current"] else " ", row["name"], row["url"], row["project"]) for row in rows],
        empty="No contexts. `slipway login URL` makes one.",
    )


@contexts.command("use")
def use_context(ctx: typer.Context, name: ContextName) -> None:
    """Make a context the current one."""
    session = session_of(ctx)
    config.write(session.config_path, session.config.using(name))
    print(f"{name} is the current context.")


@contexts.command("remove")
def remove_context(ctx: typer.Context, name: ContextName) -> None:
    """Forget a context and its token."""
    logout(ctx, name)


def add_to(app: typer.Typer) -> None:
    app.command()(login)
    app.command()(logout)
    app.add_typer(contexts, name="contexts")
