"""``python -m workers.engine build DIR``: a build by hand, its steps and output on the terminal."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from workers.engine import images, importing, recipes
from workers.engine.build import builder as builders
from workers.engine.build import room
from workers.engine.build.builder import Builder, Doors
from workers.engine.build.progress import Note, Told
from workers.engine.host import Engine
from workers.engine.images import Image
from workers.engine.logwriting import LogWriter
from workers.errors import InvalidSpec, NoSuchImage
from workers.messages import BuildImage, BuildOptions, BuildSource, Limits, ProjectSlice
from workers.oci.reference import Reference

_SHOWN = {
    "cached": "CACHED",
    "done": "done",
    "failed": "FAILED",
    "cancelled": "cancelled",
    "skipped": "skipped",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=build)
    parser.add_argument("directory", type=Path, help="the build context")
    parser.add_argument("--file", "-f", default="Dockerfile", help="path in the context")
    parser.add_argument("--tag", "-t", action="append", default=[])
    parser.add_argument("--target")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=value")
    parser.add_argument("--secret", action="append", default=[], metavar="ID=FILE")
    parser.add_argument("--no-cache", action="store_true")
    base = "an image FROM may name: an archive, a recipe such as busybox or debian, or an id"
    parser.add_argument("--base", action="append", default=[], metavar="NAME=ARCHIVE", help=base)
    parser.add_argument("--output", help="write the files as a tar there, in place of an image")
    parser.add_argument("--memory-mb", type=int, default=2048)
    parser.add_argument("--source-date-epoch", type=int)
    parser.add_argument("--quiet", "-q", action="store_true", help="only the image's id")


def build(engine: Engine, options: argparse.Namespace, *, scope: str, project: ProjectSlice) -> int:
    room.recover(engine)
    command = _command(engine, options, scope, project)
    shown = _Terminal(options.quiet)
    with tempfile.TemporaryDirectory() as logs, LogWriter(Path(logs) / "log") as log:
        log.write = shown.line  # type: ignore[method-assign]  # printed, not kept
        doors = Doors(
            open_upload=_no_upload,
            pull=_no_pull,
            push=_no_push,
            keep_output=_output(options.output),
            tell=shown.steps,
            log=log,
            cancelled=lambda: None,
            directory=options.directory.absolute(),
        )
        made = builders.build(Builder.open(engine), command, doors)
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if made.image is not None:
        print(made.image.image_id)
    return 0


def _command(engine: Engine, options: argparse.Namespace, scope: str, project: ProjectSlice) -> BuildImage:
    names = dict(_base(engine, scope, each) for each in options.base)
    return BuildImage(
        job="manual",
        build=secrets.token_hex(16),
        attempt=1,
        project=project,
        scope=scope,
        source=BuildSource(),
        options=BuildOptions(
            dockerfile=options.file,
            target=options.target,
            args=_pairs(options.build_arg),
            secrets={name: Path(path).read_text() for name, path in _pairs(options.secret).items()},
            tags=tuple(Reference.parse(tag).familiar for tag in options.tag),
            no_cache=options.no_cache,
            output="tar" if options.output else "image",
            source_date_epoch=options.source_date_epoch,
        ),
        limits=Limits(options.memory_mb << 20, 2000, 1024),
        local_images=names,
    )


def _pairs(texts: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _base(engine: Engine, scope: str, text: str) -> tuple[str, str]:
    name, _, archive = text.partition("=")
    familiar = Reference.parse(name).familiar
    if archive in recipes.ROOTS:
        with tempfile.TemporaryFile() as baked:
            recipes.bake(archive, baked, lambda line, done, total: None)
            baked.seek(0)
            return familiar, importing.import_archive(engine.images, baked, scope=scope).image_id
    if archive in images.image_ids(engine.images, scope):
        return familiar, archive
    if not Path(archive).exists():
        raise InvalidSpec(f"No such archive, recipe or image: {archive}")
    return familiar, importing.import_archive(engine.images, Path(archive), scope=scope).image_id


def _no_upload(digest: str) -> BinaryIO:
    raise InvalidSpec(f"Nothing was uploaded: {digest}")


def _no_pull(reference: str, platform: str, note: Note) -> Image:
    raise NoSuchImage(f"No such image: {reference}; name it with --base", image=reference)


def _no_push(scope: str, image: Image, reference: str, note: Note) -> None:
    raise InvalidSpec(f"Nothing is pushed from here: {reference}")


def _output(path: str | None) -> Callable[[Callable[[BinaryIO], None]], str]:
    def keep(write: Callable[[BinaryIO], None]) -> str:
        with open(str(path), "wb") as file:
            write(file)
        return str(path)

    return keep


class _Terminal:
    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._said: dict[int, str] = {}
        self._lock = threading.Lock()

    def steps(self, told: Told) -> None:
        for step in told.steps:
            if self._said.get(step.id) != step.state and step.state in _SHOWN:
                self._said[step.id] = step.state
                seconds = (step.ended_at or 0) - (step.started_at or 0)
                why = f"  ({step.reason})" if step.reason else ""
                self._print(f"#{step.id} {step.name} {_SHOWN[step.state]} {seconds:.2f}s{why}")

    def line(self, text: str, stream: str = "stdout") -> None:
        for line in text.rstrip("\n").split("\n"):
            self._print(f"#{stream.partition(':')[0]} {line}")

    def _print(self, text: str) -> None:
        if not self._quiet:
            with self._lock:
                print(text, file=sys.stderr, flush=True)
