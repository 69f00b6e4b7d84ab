"""`registry`: a project's accounts at other registries."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import CliError, Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, session_of
from slipway.cli.sizes import now, since

registry = typer.Typer(help="Accounts of a project at other registries.", no_args_is_help=True)
Host = Annotated[str, typer.Argument(metavar="HOST", help="docker.io, registry.example.org:5000")]


@registry.command("login")
def login(
    ctx: typer.Context,
    host: Host,
    username: Annotated[str | None, typer.Option("--username", "-u")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password or token from stdin.")
    ] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the project use an account at a registry, and ask the registry whether it opens."""
    session = session_of(ctx).heed(project=project, json=as_json)
    username = username or _ask("Username: ")
    path = _path(session, host)
    body = {"username": username, "secret": _secret(from_stdin=password_stdin)}
    session.client.put(path, body)
    _report(session, session.client.post(f"{path}/test", timeout=60.0))


@registry.command("test")
def ask(ctx: typer.Context, host: Host, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Ask a registry whether the account opens."""
    session = session_of(ctx).heed(project=project, json=as_json)
    _report(session, session.client.post(f"{_path(session, host)}/test", timeout=60.0))


def _report(session: Session, found: dict[str, Any]) -> None:
    if session.json:
        output.print_json(found)
    if found["test_error"]:
        raise CliError(found["test_error"], code="REGISTRY_ACCOUNT_REFUSED", hint="The account is kept.")
    if not session.json:
        print(f"{found['username']} is let in at {found['host']}.")


@registry.command("logout")
def logout(ctx: typer.Context, host: Host, project: ProjectOption = None) -> None:
    """Forget the project's account at a registry."""
    session = session_of(ctx).heed(project=project)
    session.client.delete(_path(session, host))
    print(f"Forgot the account at {host}.")


@registry.command("list")
def list_accounts(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """The project's accounts, without their secrets."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = list(session.client.items(session.below("registry-credentials")))
    if session.json:
        output.print_json(found)
        return
    rows = [
        (each["host"], each["username"], each["created_by"], since(each["used_at"], now()), _tested(each))
        for each in found
    ]
    output.print_table(("HOST", "USERNAME", "SET BY", "USED", "LAST TEST"), rows, empty="No accounts.")


def _tested(account: dict[str, Any]) -> str:
    if not account["tested_at"]:
        return "never"
    return account["test_error"] or f"ok, {since(account['tested_at'], now())} ago"


def _path(session: Session, host: str) -> str:
    """Of the account; what is pasted from a browser is cut down to the host."""
    bare = host.partition("://")[2] or host
    return session.below("registry-credentials", bare.partition("/")[0])


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise Misused("There is no terminal to ask for a username.", "Give it with --username.")
    return input(question).strip()


def _secret(*, from_stdin: bool) -> str:
    """Never from the command line: other users of the machine see that."""
    if from_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        import getpass

        secret = getpass.getpass("Password: ")
    else:
        raise Misused("There is no terminal to type the password at.", "Use --password-stdin.")
    if not secret:
        raise Misused("The password is empty.")
    return secret


def add_to(app: typer.Typer) -> None:
    app.add_typer(registry, name="registry")
