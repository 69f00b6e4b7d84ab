"""The application: its options, its commands, and how every error leaves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from slipway.cli import VERSION, output
from slipway.cli.commands import (
    accounts,
    build,
    builds,
    containers,
    doctor,
    images,
    jobs,
    registry,
    run,
    signing_in,
    transfer,
)
from slipway.cli.errors import CliError, Exit
from slipway.cli.parameters import lighten
from slipway.cli.session import JsonOption, ProjectOption, Session, complete_contexts, session_of

# rich would draw help in boxes; it costs more to load than anything else that happens there.
app = typer.Typer(name="slipway", rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"slipway {VERSION}")
        raise typer.Exit


@app.callback()
def _application(
    ctx: typer.Context,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAME",
            help="Else SLIPWAY_CONTEXT, or the current one.",
            autocompletion=complete_contexts,
        ),
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    """Run containers on machines that teams share.

    Exit codes: 0 well, 1 error, 2 usage, 3 not found, 4 not allowed, 5 server unreachable; `run` ends with
    the container's, or with 125 when Slipway itself failed.
    """
    session = session_of(ctx).heed(project=project, json=as_json)
    session.context = context or ""


for _module in (
    signing_in,
    accounts,
    run,
    containers,
    images,
    build,
    builds,
    transfer,
    registry,
    jobs,
    doctor,
):
    _module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the process's exit code."""
    session = Session()
    command = get_command(app)
    lighten(command)
    given = None if arguments is None else list(arguments)
    try:
        command.main(args=given, prog_name="slipway", obj=session)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.ERROR
    except CliError as error:
        if session.json:
            import json

            print(json.dumps({"error": error.document()}), file=sys.stderr)
        else:
            output.complain(error.sentence())
        return error.exit_code
    return Exit.OK
