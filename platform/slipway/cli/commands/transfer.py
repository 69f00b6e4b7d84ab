"""`pull`, `push`, `tag`, `untag`, `rmi`, `save`, `load`, `search`, `history`: images in and out."""

from __future__ import annotations

import os
import sys
from typing import IO, Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import CliError, Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, complete_images, session_of
from slipway.cli.sizes import now, show_bytes, since

SILENCE = 600.0
ImageName = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="A name, an id or its beginning.", autocompletion=complete_images),
]
ImageNames = Annotated[
    list[str], typer.Argument(metavar="IMAGE…", help="Names or ids.", autocompletion=complete_images)
]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id and do not wait.")]


def pull(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="NAME[:TAG|@DIGEST]", help="As for docker.")],
    platform: Annotated[str | None, typer.Option("--platform", help="linux/arm64; else the node's.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the registry even if it was asked a moment ago.")
    ] = False,
    detach: DetachOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull an image from a registry into the project."""
    session = session_of(ctx).heed(project=project, json=as_json)
    asked = {"reference": reference, "platform": platform, "refresh": refresh}
    _transfer(session, session.client.post(session.below("images", "pull"), asked), detach=detach)


def push(
    ctx: typer.Context,
    image: ImageName,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="Where to; a bare web:1 is the project's own repository."),
    ] = None,
    compression: Annotated[str, typer.Option("--compression", help="gzip or zstd.")] = "gzip",
    detach: DetachOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push an image to a registry, under its own name or as TARGET."""
    session = session_of(ctx).heed(project=project, json=as_json)
    asked = {"compression": compression} | ({"reference": target} if target else {})
    _transfer(session, session.client.post(session.below("images", image, "push"), asked), detach=detach)


def _transfer(session: Session, job: dict[str, Any], *, detach: bool) -> None:
    from slipway.cli import jobs

    if not detach:
        job = jobs.follow_layers(session.client, session.below("jobs", job["id"]), quiet=session.json)
    if session.json:
        output.print_json(job)
    if detach:
        if not session.json:
            print(job["id"])
        return
    jobs.check(job)
    if not session.json:
        if job["detail"]:
            output.remark(job["detail"])
        print(job["subject"])


def tag(
    ctx: typer.Context,
    image: ImageName,
    name: Annotated[str, typer.Argument(metavar="NAME[:TAG]")],
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an image another name; it moves if it is another image's."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.post(session.below("images", image, "tag"), {"reference": name})
    if session.json:
        output.print_json(found)


def untag(
    ctx: typer.Context, name: ImageName, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Take a name away; the image stays, under its id if it has no other name."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.post(session.below("images", name, "untag"))
    output.print_json(found) if session.json else print(f"Untagged: {name}")


def rmi(
    ctx: typer.Context, names: ImageNames, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """Remove images. Of one with several names, only the name given goes, as with docker."""
    from slipway.cli import jobs

    session = session_of(ctx).heed(project=project, json=as_json)
    removed: list[dict[str, Any]] = []
    for name in names:
        found = session.client.get(session.below("images", name))
        if len(found["references"]) > 1 and not found["id"].partition(":")[2].startswith(name):
            session.client.post(session.below("images", name, "untag"))
            removed.append({"untagged": name})
        else:
            job = session.client.delete(session.below("images", found["id"]))
            jobs.check(jobs.follow(session.client, session.below("jobs", job["id"]), quiet=session.json))
            removed.append({"deleted": found["id"]})
        if not session.json:
            print(*(f"{what.capitalize()}: {which}" for what, which in removed[-1].items()))
    if session.json:
        output.print_json(removed)


def save(
    ctx: typer.Context,
    image: ImageName,
    file: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Else stdout.")] = "-",
    form: Annotated[str, typer.Option("--format", help="docker or oci.")] = "docker",
    project: ProjectOption = None,
) -> None:
    """Save an image as an archive, which `docker load` and OCI tools read."""
    session = session_of(ctx).heed(project=project)
    if file == "-" and sys.stdout.isatty():
        raise Misused("An archive is nothing for a terminal.", "Give a file with -o, or pipe it on.")
    path = session.below("images", image, "archive")
    with session.client.stream(path, {"format": form}, accept="application/x-tar", silence=SILENCE) as pieces:
        if file == "-":
            _write(sys.stdout.buffer, pieces, "stdout")
        else:
            _write_file(file, pieces)


def _write_file(file: str, pieces: Any) -> None:
    """A file of that name is a whole archive, whatever happens on the way."""
    partial = f"{file}.partial"
    try:
        with open(partial, "wb") as target:
            _write(target, pieces, os.path.basename(file))
        os.replace(partial, file)
    except OSError as error:
        raise CliError(
            f"{file} cannot be written: {(error.strerror or str(error)).lower()}.", code="FILE_UNWRITABLE"
        ) from error
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def _write(target: IO[bytes], pieces: Any, title: str) -> None:
    from slipway.cli.progress import bar

    done = 0
    with bar(f"Saving {title}") as shown:
        for piece in pieces:
            target.write(piece)
            done += len(piece)
            shown.show(f"Saving {title}", done, 0)
    target.flush()


def load(
    ctx: typer.Context,
    file: Annotated[str, typer.Option("--input", "-i", metavar="FILE", help="Else stdin.")] = "-",
    detach: DetachOption = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load an archive that `save` wrote, with the names in it; `import` gives it another one."""
    from slipway.cli.commands.images import import_

    import_(ctx, file, None, None, detach=detach, project=project, as_json=as_json)


def search(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="WORD…")],
    here: Annotated[bool, typer.Option("--here", help="Only in the project and the library.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find images: in your projects, the library, repositories, and registries outside."""
    session = session_of(ctx).heed(project=project, json=as_json)
    query: dict[str, Any] = {"q": " ".join(words)}
    if here:
        query |= {"project": session.project_path, "kind": ["local", "library"]}
    found = session.client.get("/images/search", query, timeout=60.0)
    if session.json:
        output.print_json(found)
        return
    rows = [
        (each["reference"], each["kind"], each["project"], each["stars"], each["description"][:60])
        for each in found["items"]
    ]
    output.print_table(("IMAGE", "WHERE", "PROJECT", "STARS", "DESCRIPTION"), rows, empty="Nothing found.")
    for failure in found["failures"]:
        output.remark(failure)


def history(
    ctx: typer.Context, image: ImageName, project: ProjectOption = None, as_json: JsonOption = False
) -> None:
    """What made an image's layers, the newest first."""
    session = session_of(ctx).heed(project=project, json=as_json)
    found = session.client.get(session.below("images", image))
    if session.json:
        output.print_json(found["history"])
        return
    layers = {each["diff_id"]: each for each in found["layers"]}
    rows = []
    for line in reversed(found["history"]):
        layer = layers.get(line["diff_id"])
        size = show_bytes(layer["unpacked_size"]) if layer else "0 B"
        rows.append((_ago(line["created"]), line["created_by"][:80], size, line["comment"]))
    output.print_table(("FOR", "CREATED BY", "SIZE", "COMMENT"), rows, empty="It has no history.")


def _ago(stamp: str | None) -> str:
    """What others wrote into an image may be no time at all."""
    try:
        return since(stamp, now())
    except (ValueError, TypeError):
        return "-"


def add_to(app: typer.Typer) -> None:
    for command in (pull, push, tag, untag, rmi, save, load, search, history):
        app.command()(command)
