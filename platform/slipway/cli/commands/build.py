"""`build`: an image from a folder, a repository or a Dockerfile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.errors import Misused
from slipway.cli.session import JsonOption, ProjectOption, Session, session_of

if TYPE_CHECKING:
    from slipway.cli.building import Build
    from slipway.cli.targets import Target

PROGRESS = ("auto", "plain", "tty", "quiet")
Texts = list[str] | None
Path = Annotated[str, typer.Argument(metavar="PATH|URL|-", help="Folder, repository, or - for stdin.")]
Tag = Annotated[Texts, typer.Option("--tag", "-t", metavar="NAME[:TAG]", help="Name it.")]
File = Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="Else PATH/Dockerfile.")]
Stage = Annotated[str | None, typer.Option("--target", metavar="STAGE", help="Else the last one.")]
Arg = Annotated[Texts, typer.Option("--build-arg", metavar="NAME[=VALUE]", help="For ARG.")]
Label = Annotated[Texts, typer.Option("--label", metavar="NAME=VALUE", help="Added to the image's.")]
Secret = Annotated[
    Texts,
    typer.Option("--secret", metavar="id=ID,src=FILE|env=NAME", help="For RUN --mount=type=secret."),
]
Ssh = Annotated[Texts, typer.Option("--ssh", metavar="ID=FILE", help="A key for RUN --mount=type=ssh.")]
Context = Annotated[Texts, typer.Option("--build-context", metavar="NAME=REFERENCE|URL", help="One more.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do every step anew.")]
Anew = Annotated[Texts, typer.Option("--no-cache-filter", metavar="STAGE", help="Do this stage anew.")]
Pull = Annotated[bool, typer.Option("--pull", help="Ask registries for newer base images.")]
CacheFrom = Annotated[Texts, typer.Option("--cache-from", metavar="REF", help="Take the cache from there.")]
CacheTo = Annotated[Texts, typer.Option("--cache-to", metavar="REF", help="Put the cache there.")]
Platform = Annotated[str | None, typer.Option("--platform", metavar="OS/ARCH", help="Else the node's.")]
Network = Annotated[str, typer.Option("--network", metavar="default|none", help="Of RUN.")]
Host = Annotated[Texts, typer.Option("--add-host", metavar="NAME:ADDRESS", help="For RUN.")]
Ulimit = Annotated[Texts, typer.Option("--ulimit", metavar="NAME=SOFT[:HARD]", help="Of RUN.")]
Memory = Annotated[str | None, typer.Option("--memory", "-m", metavar="SIZE", help="For the whole build.")]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="Take the place of its builds that wait."),
]
Progress = Annotated[str, typer.Option("--progress", metavar="|".join(PROGRESS), help="How to show it.")]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DEST", help="A directory, or type=tar,dest=FILE (-: stdout)."),
]
Push = Annotated[bool, typer.Option("--push", help="Push it, under each of its names, when it is built.")]
Propose = Annotated[bool, typer.Option("--propose", help="Print a Dockerfile for a folder without one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the image's id.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Print the build's number and end.")]


def build(
    ctx: typer.Context,
    path: Path = ".",
    tag: Tag = None,
    file: File = None,
    target: Stage = None,
    build_arg: Arg = None,
    label: Label = None,
    secret: Secret = None,
    ssh: Ssh = None,
    build_context: Context = None,
    no_cache: NoCache = False,
    no_cache_filter: Anew = None,
    pull: Pull = False,
    cache_from: CacheFrom = None,
    cache_to: CacheTo = None,
    platform: Platform = None,
    network: Network = "default",
    add_host: Host = None,
    ulimit: Ulimit = None,
    memory: Memory = None,
    group: Group = None,
    progress: Progress = "auto",
    out: Output = None,
    push: Push = False,
    propose: Propose = False,
    quiet: Quiet = False,
    detach: Detach = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an image. Of a folder only what has changed is sent. Ctrl-C cancels the build.

    Ends with 0 if it succeeded, with 1 if not; the image's id is printed on stdout.
    """
    session = session_of(ctx).heed(project=project, json=as_json)
    if progress not in PROGRESS:
        raise Misused(f"--progress {progress}: one of {', '.join(PROGRESS)} is needed.")
    _build(session, ctx.params)


def _build(session: Session, given: dict[str, Any]) -> None:
    from slipway.cli import building
    from slipway.cli.targets import find_target, parse_destination

    wanted = find_target(given["path"], given["file"])
    destination = parse_destination(given["out"])
    if given["push"] and (destination or given["detach"] or not given["tag"]):
        raise Misused("--push needs a name (-t), and goes with neither --output nor --detach.")
    body = _body(given) | wanted.body | ({"output": "tar"} if destination else {})
    is_silent = given["quiet"] or session.json
    made = _ask(session, wanted, body, given["path"], quiet=is_silent)
    address = session.below("builds", str(made["number"]))
    if given["detach"]:
        output.print_json(made) if session.json else print(made["number"])
        return
    with building.view(given["progress"], quiet=is_silent) as shown:
        done = building.watch_or_cancel(session.client, address, shown)
    if given["propose"] and _proposal(done):
        print(_proposal(done), end="")
        return
    _finish(session, done, wanted, address, destination, quiet=is_silent)
    if given["push"]:
        _push(session, done["tags"], quiet=is_silent)


def _push(session: Session, names: list[str], *, quiet: bool) -> None:
    from slipway.cli import jobs

    for name in names:
        job = session.client.post(session.below("images", name, "push"), {})
        job = jobs.follow_layers(session.client, session.below("jobs", job["id"]), quiet=quiet)
        jobs.check(job)
        if not quiet:
            output.remark(f"Pushed {job['subject']}")


def _body(given: dict[str, Any]) -> dict[str, Any]:
    """The options for the request, without those that say nothing."""
    from slipway.cli.sizes import parse_bytes
    from slipway.cli.targets import parse_pairs, parse_secrets, parse_ssh

    same = (
        "target",
        "no_cache",
        "no_cache_filter",
        "pull",
        "cache_from",
        "cache_to",
        "platform",
        "network",
        "group",
    )
    options = {
        **{name: given[name] for name in same},
        "tags": given["tag"],
        "args": parse_pairs(given["build_arg"], "--build-arg", from_environment=True),
        "labels": parse_pairs(given["label"], "--label"),
        "contexts": parse_pairs(given["build_context"], "--build-context"),
        "secrets": parse_secrets(given["secret"]),
        "ssh": parse_ssh(given["ssh"]),
        "extra_hosts": given["add_host"],
        "ulimits": given["ulimit"],
        "memory_bytes": parse_bytes(given["memory"], "--memory") if given["memory"] else None,
    }
    return {name: value for name, value in options.items() if value}


def _ask(session: Session, wanted: Target, body: dict[str, Any], path: str, *, quiet: bool) -> Build:
    from slipway.cli import folders

    builds = session.below("builds")
    if wanted.folder is not None:
        dockerfile = body.get("dockerfile", "Dockerfile")
        folder = folders.scan(wanted.folder, folders.read_ignore(wanted.folder, dockerfile), quiet=quiet)
        if wanted.dockerfile is not None and dockerfile not in folder.paths:
            # The ignore file leaves it out: it is read, but not part of the context.
            body = {
                **{name: value for name, value in body.items() if name != "dockerfile"},
                "dockerfile_text": wanted.dockerfile,
            }
        return folders.build(session.client, builds, folder, body, quiet=quiet)
    if path == "-" and wanted.dockerfile is None:
        return _send_archive(session, builds, body)
    made: Build = session.client.post(builds, body)
    return made


def _proposal(build: Build) -> str:
    return str(((build["cause"] or {}).get("facts") or {}).get("proposal") or "")


def _send_archive(session: Session, builds: str, body: dict[str, Any]) -> Build:
    """Options go in the address, where secrets have no place."""
    import json

    if body.get("secrets") or body.get("ssh"):
        raise Misused(
            "--secret and --ssh cannot go with an archive from stdin; unpack it and build the folder."
        )
    if any(
        "@" in address.partition("://")[2].partition("/")[0] for address in body.get("contexts", {}).values()
    ):
        raise Misused("--build-context with a password cannot go with an archive from stdin.")
    query = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in body.items()}
    made: Build = session.client.upload(builds, query, sys.stdin.buffer, None, "application/x-tar")
    return made


def _finish(
    session: Session,
    done: Build,
    wanted: Target,
    address: str,
    destination: tuple[str, str] | None,
    *,
    quiet: bool,
) -> None:
    from slipway.cli import building

    if session.json:
        output.print_json(done)
    elif not quiet:
        for line in (*done["notes"], *done["warnings"]):
            output.remark(f"warning: {line}")
        if proposal := _proposal(done):
            title = done["cause"]["facts"].get("title")
            output.remark(f"There is no Dockerfile, and this looks like {title}. A proposal:")
            print(building.clean_lines(proposal), file=sys.stderr)
            output.remark(
                "`slipway build --propose PATH > PATH/Dockerfile` writes it, to look at and change."
            )
    building.check(done, wanted.dockerfile)
    if destination is not None:
        from slipway.cli import outputs

        outputs.fetch(session.client, f"{address}/output", *destination, quiet=quiet)
    elif not session.json:
        for name in () if quiet else done["tags"]:
            output.remark(f"Named {name}")
        print(done["image"])


def add_to(app: typer.Typer) -> None:
    app.command()(build)
