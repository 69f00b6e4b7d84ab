"""The engine by hand, without platform, Celery or Redis: ``python -m workers.engine run ARCHIVE CMD…``.

For debugging. It works on an instance of its own, so nothing it does needs to be told to a platform.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path

from workers.engine import containers, images, importing, logs, recipes, records
from workers.engine.build import command
from workers.engine.host import Engine, open_engine, teardown
from workers.engine.places import Places
from workers.errors import InvalidSpec, SlipwayError
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerSpec,
    DropLogs,
    Event,
    Limits,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
)

INSTANCE = "engine"
SCOPE = "e" * 32
_LAST = 1 << 62
"""A generation above every other: a removal by hand always counts."""
_FOLLOW_SECONDS = 0.1
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_START_FAILED, _UNKNOWN_EXIT = 125, 255


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    action: Callable[[Engine, argparse.Namespace], int] = options.command
    try:
        places = Places(options.data.absolute(), options.run_dir.absolute())
        engine = open_engine(places, instance=INSTANCE, runtime=options.runtime)
        with chdir(places.node_run):  # conmon drops its notes where it was started
            return action(engine, options)
    except SlipwayError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return _START_FAILED
    except PermissionError as error:
        print(f"Root is needed: {error}", file=sys.stderr)
        return _START_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.engine", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/var/lib/slipway-engine"))
    parser.add_argument("--run", dest="run_dir", type=Path, default=Path("/run/slipway-engine"))
    parser.add_argument("--runtime", choices=("crun", "runc"), help="allow no other")
    parser.add_argument("--events", action="store_true", help="print events to stderr")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a command and exit with its code; leave nothing but the image")
    _add_run_options(run)
    build = commands.add_parser("build", help="build an image of a directory with a Dockerfile")
    command.add_options(build)
    _add_place(build)
    build.set_defaults(command=build_image)
    for name, action, text in (
        ("ps", ps, "list containers"),
        ("rm", rm, "remove containers"),
        ("logs", show_logs, "print a container's log"),
        ("gc", gc, "free unused layers; with --all also images, networks and namespaces"),
    ):
        each = commands.add_parser(name, help=text)
        each.set_defaults(command=action)
        if name in ("rm", "logs"):
            each.add_argument("container", nargs="+" if name == "rm" else None, help="id or its beginning")
        if name == "gc":
            each.add_argument("--all", action="store_true")
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.set_defaults(command=run_once)
    run.add_argument("--name", default="debug", help="also the host name")
    run.add_argument("--memory", type=_bytes, default=Limits().memory_bytes, metavar="BYTES[k|m|g]")
    run.add_argument("--cpus", type=float, default=Limits().cpu_millis / 1000)
    run.add_argument("--pids", type=int, default=Limits().pids)
    run.add_argument("--user")
    run.add_argument("--env", action="append", default=[], metavar="NAME=value")
    run.add_argument("--workdir")
    run.add_argument("--entrypoint", nargs="?", const="")
    run.add_argument("--tty", action="store_true")
    run.add_argument("--read-only", action="store_true")
    _add_place(run)
    run.add_argument("--detach", action="store_true", help="print the id and leave it running")
    known = ", ".join(sorted(recipes.ROOTS))
    run.add_argument("archive", help=f"image or rootfs archive, or a recipe: {known}")
    run.add_argument("args", nargs=argparse.REMAINDER, metavar="CMD")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uid-base", type=int, default=1_900_000_000)
    parser.add_argument("--subnet", default="10.86.0.0/24")


def _bytes(text: str) -> int:
    digits = text.rstrip("kKmMgG")
    return int(digits) * _UNITS[text[len(digits) :].lower()]


# --------------------------------------------------------------------------- commands


def run_once(engine: Engine, options: argparse.Namespace) -> int:
    """Run, print the log as it comes, remove; the exit code is the container's."""
    wanted = _command(options, _image(engine, options.archive))
    ends: list[ContainerExited | ContainerFailed] = []

    def emit(event: Event) -> None:
        if options.events:
            print(event, file=sys.stderr)
        if isinstance(event, ContainerExited | ContainerFailed):
            ends.append(event)

    containers.run(engine, wanted, emit)
    if options.detach and not ends:
        print(wanted.container)
        return 0
    try:
        _follow(engine, wanted.container, emit)
    finally:
        containers.remove(engine, RemoveContainer(wanted.container, _LAST), emit)
        containers.drop_logs(engine, DropLogs(wanted.container))
    return _exit_code(ends[0])


def build_image(engine: Engine, options: argparse.Namespace) -> int:
    project = ProjectSlice(SCOPE, options.uid_base, options.subnet)
    return command.build(engine, options, scope=SCOPE, project=project)


def ps(engine: Engine, options: argparse.Namespace) -> int:
    containers.recover(engine, lambda event: None)
    for each in containers.inventory(engine):
        record = records.find(engine.places, each.container)
        address = record.address if record is not None else ""
        code = "" if each.exit_code is None else f"({each.exit_code})"
        print(f"{each.container[:12]}  run {each.run}  {each.state}{code}  {address}".rstrip())
    return 0


def rm(engine: Engine, options: argparse.Namespace) -> int:
    for beginning in options.container:
        container = _find(engine, beginning)
        containers.remove(engine, RemoveContainer(container, _LAST), lambda event: None)
        containers.drop_logs(engine, DropLogs(container))
    return 0


def show_logs(engine: Engine, options: argparse.Namespace) -> int:
    _print_from(engine.places.log_directory(_find(engine, options.container)), 0)
    return 0


def gc(engine: Engine, options: argparse.Namespace) -> int:
    if options.all:
        for each in containers.inventory(engine):
            containers.remove(engine, RemoveContainer(each.container, _LAST), lambda event: None)
            containers.drop_logs(engine, DropLogs(each.container))
        for image_id in images.image_ids(engine.images, SCOPE):
            images.withdraw(engine.images, SCOPE, image_id)
        teardown(engine)
    swept = images.sweep(engine.images)
    print(f"{len(swept.layers)} layers removed")
    return 0


# --------------------------------------------------------------------------- steps


def _image(engine: Engine, archive: str) -> str:
    path = Path(archive)
    if path.exists():
        return importing.import_archive(engine.images, path, scope=SCOPE).image_id
    if archive not in recipes.ROOTS:
        raise InvalidSpec(f"No such archive or recipe: {archive}")
    with tempfile.TemporaryFile() as baked:
        recipes.bake(archive, baked, lambda line, done, total: None)
        baked.seek(0)
        return importing.import_archive(engine.images, baked, scope=SCOPE).image_id


def _command(options: argparse.Namespace, image_id: str) -> RunContainer:
    entrypoint = None if options.entrypoint is None else tuple(filter(None, [options.entrypoint]))
    spec = ContainerSpec(
        image_id=image_id,
        image_scope=SCOPE,
        name=options.name,
        hostname=options.name,
        entrypoint=entrypoint,
        command=tuple(options.args) or None,
        env=tuple(options.env),
        working_dir=options.workdir,
        user=options.user,
        tty=options.tty,
        read_only=options.read_only,
        limits=Limits(options.memory, round(options.cpus * 1000), options.pids),
    )
    project = ProjectSlice(SCOPE, options.uid_base, options.subnet)
    return RunContainer(secrets.token_hex(32), 1, 1, project, spec)


def _follow(engine: Engine, container: str, emit: Callable[[Event], None]) -> None:
    """Print the log until the container has ended. Ctrl-C asks it to stop, once more kills it."""
    directory, position, asked = engine.places.log_directory(container), 0, False
    while True:
        try:
            ended = containers.wait(engine, container, _FOLLOW_SECONDS)
            position = _print_from(directory, position)
            if ended:
                containers.settle(engine, container, emit)
                return
        except KeyboardInterrupt:
            number = signal.SIGKILL if asked else signal.SIGTERM
            asked = True
            containers.kill(engine, container, number)


def _print_from(directory: Path, position: int) -> int:
    while True:
        chunk = logs.read(directory, position)
        for entry in chunk.entries:
            stream = sys.stderr if entry.stream == "stderr" else sys.stdout
            print(entry.text, end="\n" if entry.whole else "", file=stream, flush=True)
        position = chunk.next
        if not chunk.more:
            return position


def _exit_code(end: ContainerExited | ContainerFailed) -> int:
    if isinstance(end, ContainerFailed):
        print(f"{end.cause.code}: {end.cause.message}", file=sys.stderr)
        return _START_FAILED if end.exit_code is None else end.exit_code
    if end.oom_killed:
        print("Killed: the container used more memory than its limit", file=sys.stderr)
    return _UNKNOWN_EXIT if end.exit_code is None else end.exit_code


def _find(engine: Engine, beginning: str) -> str:
    found = [each for each in records.containers(engine.places) if each.startswith(beginning)]
    if len(found) != 1:
        raise InvalidSpec(f"{beginning!r} names {len(found)} containers")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
