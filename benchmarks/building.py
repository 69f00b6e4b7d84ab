"""Slipway's builder on an engine of its own, and the figures of builds as Markdown."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks import competitors
from benchmarks.competitors import IMAGE
from benchmarks.tables import table
from workers.engine import importing, recipes
from workers.engine.build import builder as builders
from workers.engine.build.builder import Builder, Doors
from workers.engine.build.progress import Note
from workers.engine.host import Engine, open_engine, teardown
from workers.engine.images import Image
from workers.engine.logwriting import LogWriter
from workers.engine.places import Places
from workers.errors import NoSuchImage
from workers.messages import BuildImage, BuildOptions, Limits, ProjectSlice

SCOPE = "b" * 32
PROJECT = ProjectSlice(SCOPE, 1_950_000_000, "10.86.99.0/24")
LIMITS = Limits(memory_bytes=4 << 30, cpu_millis=2000, pids=4096)
BASELINE = "docker build"


@dataclass(frozen=True)
class Slipway:
    """As a worker has it: the builder stays, each build is a job."""

    engine: Engine
    builder: Builder
    image_id: str
    logs: Path

    def build(self, directory: Path, fresh: bool) -> None:
        build = secrets.token_hex(16)
        command = BuildImage(
            job=build,
            build=build,
            attempt=1,
            project=PROJECT,
            scope=SCOPE,
            options=BuildOptions(no_cache=fresh, network="none"),
            limits=LIMITS,
            local_images={IMAGE: self.image_id},
        )
        with LogWriter(self.logs / build) as log:
            builders.build(self.builder, command, _doors(log, directory))


def _doors(log: LogWriter, directory: Path) -> Doors:
    def nothing(digest: str) -> BinaryIO:
        raise NoSuchImage(digest)

    def pull(reference: str, wanted: str, note: Note) -> Image:
        raise NoSuchImage(reference)

    return Doors(
        open_upload=nothing,
        pull=pull,
        push=lambda scope, image, reference, note: None,
        keep_output=lambda write: "",
        tell=lambda steps: None,
        log=log,
        cancelled=lambda: None,
        directory=directory,
    )


@contextmanager
def engine(directory: Path, archive: Path) -> Iterator[Slipway]:
    directory.mkdir(parents=True)
    directory.chmod(0o711)
    made = open_engine(Places(directory / "data", directory / "run"), instance=f"bench{secrets.token_hex(3)}")
    try:
        image = importing.import_archive(made.images, archive, scope=SCOPE)
        yield Slipway(made, Builder.open(made), image.image_id, directory / "logs")
    finally:
        teardown(made)


def bake(work: Path) -> tuple[Path, Path]:
    """Our image archive of busybox, and the root file system in it as a plain tar for the others."""
    archive, rootfs = work / "busybox.tar", work / "rootfs.tar"
    with archive.open("w+b") as target:
        recipes.bake("busybox", target, lambda *_: None)
    competitors.extract_rootfs(archive, rootfs)
    return archive, rootfs


def machine(docker: competitors.Docker, buildah: competitors.Buildah) -> dict[str, str]:
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "kernel": platform.release(),
        "docker": docker.version(),
        "buildah": buildah.version(),
    }


def render(results: dict[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    rows = []
    for name, case in results["cases"].items():
        seconds = case["seconds"]
        baseline = seconds[BASELINE]
        rows.append(
            (
                name,
                *(f"{seconds[each]:.2f} s" for each in seconds),
                f"{seconds['Slipway'] / baseline:.2f}",
                f"{case['memory_mib']:.0f} MiB",
            )
        )
    names = list(next(iter(results["cases"].values()))["seconds"])
    head = ("build, to the image that can be run", *names, f"× {BASELINE}", "memory grew")
    return f"Machine: {facts}.\n\n{table(head, rows)}"
