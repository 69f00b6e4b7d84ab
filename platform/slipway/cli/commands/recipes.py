"""`recipes`: images from the distribution's packages, for administrators."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.session import JsonOption, Session, session_of
from slipway.cli.sizes import now, show_bytes, since

recipes = typer.Typer(help="Make images from the distribution's packages.", invoke_without_command=True)


@recipes.callback()
def _recipes(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the recipes and what the library has of them."""
    session = session_of(ctx).heed(json=as_json)
    if ctx.invoked_subcommand is None:
        _list(session)


def _list(session: Session) -> None:
    found = session.client.get("/recipes")["items"]
    if session.json:
        output.print_json(found)
        return
    rows = []
    for each in found:
        image, job = each["image"], each["job"]
        is_active = job is not None and job["state"] in ("queued", "running")
        made = job["state"] if is_active else since(image["created_at"], now()) if image else None
        rows.append((each["name"], ", ".join(each["references"]), image and show_bytes(image["size"]), made))
    output.print_table(("RECIPE", "IN THE LIBRARY AS", "SIZE", "MADE"), rows, empty="No recipes.")


@recipes.command("bake")
def bake(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Its name, such as redis.")],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an image by a recipe into the library; prints what its programs say."""
    from slipway.cli import jobs as following
    from slipway.cli.following import print_log

    session = session_of(ctx).heed(json=as_json)
    job = session.client.post(f"/recipes/{recipe}/bake")
    path = f"/projects/{job['project']}/jobs/{job['id']}"
    if not detach:
        if not session.json:
            print_log(session.client, f"{path}/logs", follow=True)
        job = following.follow(session.client, path, quiet=True)
    if session.json:
        output.print_json(job)
    elif detach:
        print(job["id"])
    if not detach:
        following.check(job)


def add_to(app: typer.Typer) -> None:
    app.add_typer(recipes, name="recipes")
