"""`images` and `import`."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.session import JsonOption, ProjectOption, session_of
from slipway.cli.sizes import now, parse_reference, show_bytes, since

LIBRARY = "library/library"


def images(ctx: typer.Context, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """List what can be run in a project: its own images, newest first, and the library's."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = list(session.client.items(session.below("images")))
    if session.project_path != LIBRARY:
        found += session.client.items(f"/projects/{LIBRARY}/images")
    if session.json:
        output.print_json(found)
        return
    rows = [
        (
            name,
            each["id"].partition(":")[2][:12],
            show_bytes(each["size"]),
            each["project"],
            since(each["created_at"], now()),
        )
        for each in found
        for name in each["references"] or [None]
    ]
    output.print_table(
        ("IMAGE", "ID", "SIZE", "PROJECT", "FOR"), rows, empty="No images; `slipway pull` fetches one."
    )


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A tar, plain, gzip or zstd; - for stdin.")],
    reference: Annotated[
        str | None, typer.Argument(metavar="[NAME[:TAG]]", help="In place of the names in the archive.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--change", "-c", metavar="LINE", help="For a root file system: 'CMD [\"sh\"]', ENV, USER …"
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the job's id once all is uploaded.")
    ] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import an image: an OCI layout, what `docker save` writes, or a root file system."""
    from slipway.cli import jobs, uploads

    session = session_of(ctx).heed(project=project, json=as_json)
    name, tag = parse_reference(reference) if reference else (None, None)
    query = {"name": name, "tag": tag, "change": change or None}
    job = uploads.send(session.client, session.below("images"), query, file, quiet=session.json)
    if not detach:
        job = jobs.follow(session.client, session.below("jobs", job["id"]), quiet=session.json)
    if session.json:
        output.print_json(job)
    if not detach:
        jobs.check(job)
    if not session.json:
        print(job["id"] if detach else job["subject"])


def add_to(app: typer.Typer) -> None:
    app.command()(images)
    app.command("import")(import_)
