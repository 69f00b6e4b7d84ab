"""`templates`: images with a form."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, session_of

templates = typer.Typer(help="Run what administrators prepared.", invoke_without_command=True)
Slug = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Its short name, such as redis.")]


@templates.callback()
def _templates(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the templates."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is None:
        _list(session)


def _list(session: Session) -> None:
    found = list(session.client.items("/templates"))
    if session.json:
        output.print_json(found)
        return
    rows = [(each["slug"], each["name"], each["image"], each["description"]) for each in found]
    output.print_table(("TEMPLATE", "NAME", "IMAGE", "WHAT IT IS"), rows, empty="No templates.")


@templates.command("show")
def show(ctx: typer.Context, template: Slug, as_json: JsonOption = False) -> None:
    """What a template asks for."""
    session = session_of(ctx).heed(json=as_json)
    found = session.client.get(f"/templates/{template}")
    if session.json:
        output.print_json(found)
        return
    output.print_facts([(name, found[name]) for name in ("slug", "name", "description", "image")])
    rows = [
        (each["name"], each["kind"], each["default"], _need(each), each["label"]) for each in found["form"]
    ]
    if rows:
        print()
        output.print_table(("FIELD", "KIND", "DEFAULT", "NEEDED", "WHAT IT IS"), rows, empty="")


def _need(field: dict[str, Any]) -> str:
    if field["kind"] == "secret":
        return "made up"
    return "yes" if field["required"] and not field["default"] else "no"


@templates.command("run")
def run(
    ctx: typer.Context,
    template: Slug,
    given: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="FIELD=VALUE", help="As often as needed.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the container.")] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a container of it; prints its name, and secrets that were made for it, this once."""
    session = session_of(ctx).heed(project=project, json=as_json)
    values = {}
    for each in given or []:
        field, equals, value = each.partition("=")
        if not equals:
            raise Misused(f"--set {each}: FIELD=VALUE is needed.")
        values[field] = value
    path = session.below("templates", template, "run")
    launched = session.client.post(path, {"name": name, "values": values})
    if session.json:
        output.print_json(launched)
        return
    print(launched["container"]["name"])
    for field, value in launched["generated"].items():
        print(f"{field}={value}")


def add_to(app: typer.Typer) -> None:
    app.add_typer(templates, name="templates")
