"""Builds on an engine of its own: a context made in memory, the result read without mounting anything."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tests.system.rigs import SCOPE, Rig
from workers.engine import images
from workers.engine.build import builder as builders
from workers.engine.build.builder import Builder, Built, Doors
from workers.engine.build.progress import Note, Told, silent
from workers.engine.build.stacks import Node, Stack
from workers.engine.images import Image
from workers.engine.logwriting import LogWriter
from workers.errors import NoSuchImage
from workers.messages import (
    BuildImage,
    BuildOptions,
    BuildProgressed,
    BuildSource,
    Event,
    Limits,
    RegistryAccess,
    StepFacts,
)

Files = Mapping[str, str | bytes | tuple[Any, ...]]
"""Name to text; or to ``(kind, link or text, mode)`` for what is no plain file."""

NONE: Files = {}


@dataclass
class BuildRig:
    rig: Rig
    builder: Builder
    directory: Path
    uploads: dict[str, bytes] = field(default_factory=dict)
    steps: tuple[StepFacts, ...] = ()
    told: int = 0
    output: bytes = b""
    cancelled: Callable[[], None] = lambda: None
    images: dict[str, str] = field(default_factory=dict)
    access: dict[str, RegistryAccess] = field(default_factory=dict)
    log: Path = Path()
    pushed: dict[str, Image] = field(default_factory=dict)
    pull: Callable[[str, str], Image] | None = None
    note: Note = silent
    """Of the last pull."""

    def command(
        self,
        text: str,
        files: Files | bytes = NONE,
        *,
        source: BuildSource | None = None,
        **wishes: Any,
    ) -> BuildImage:
        """``wishes``: fields of the command (limits, timeout, project) and of the options."""
        archive = files if isinstance(files, bytes) else context({"Dockerfile": text, **files})
        name = f"sha256:{secrets.token_hex(32)}"
        self.uploads[name] = archive
        limits = wishes.pop("limits", Limits(memory_bytes=512 << 20, cpu_millis=2000))
        timeout = wishes.pop("timeout", 60.0)
        project = wishes.pop("project", self.rig.project())
        return BuildImage(
            job=secrets.token_hex(16),
            build=secrets.token_hex(16),
            attempt=1,
            project=project,
            scope=SCOPE,
            source=source or BuildSource("upload", upload=name),
            options=BuildOptions(**wishes),
            limits=limits,
            timeout=timeout,
            local_images={"base:latest": self.rig.image_id, **self.images},
            access=self.access,
        )

    def build(self, text: str, files: Files | bytes = NONE, **wishes: Any) -> Built:
        return self.run(self.command(text, files, **wishes))

    def run(self, command: BuildImage) -> Built:
        self.log = self.directory / command.build
        with LogWriter(self.log) as log:
            return builders.build(self.builder, command, self.doors(log))

    def doors(self, log: LogWriter) -> Doors:
        return Doors(
            open_upload=lambda digest: io.BytesIO(self.uploads[digest]),
            pull=self._pull,
            push=self._push,
            keep_output=self._keep,
            tell=self._tell,
            log=log,
            cancelled=lambda: self.cancelled(),
        )

    def _tell(self, told: Told) -> None:
        known = {} if told.fresh else {step.id: step for step in self.steps}
        known |= {step.id: step for step in told.steps}
        self.steps, self.told = tuple(known[number] for number in sorted(known)), self.told + 1

    def _pull(self, reference: str, platform: str, note: Note) -> Image:
        self.note = note
        return (_no_pull if self.pull is None else self.pull)(reference, platform)

    def _push(self, scope: str, image: Image, reference: str, note: Note) -> None:
        """A registry of one: what was pushed stays granted to a scope of its own."""
        note("all of it")
        images.grant(self.rig.engine.images, "pushed", image)
        self.pushed[reference] = image

    def _keep(self, write: Callable[[BinaryIO], None]) -> str:
        file = io.BytesIO()
        write(file)
        self.output = file.getvalue()
        return "sha256:output"

    # ------------------------------------------------------------------ looking

    def image(self, built: Built) -> Image:
        assert built.image is not None
        return images.get(self.rig.engine.images, SCOPE, built.image.image_id)

    def stack(self, built: Built) -> Stack:
        layers = self.image(built).layers
        return Stack([self.rig.places.layer(layer.diff_id) for layer in reversed(layers)])

    def node(self, built: Built, path: str) -> Node | None:
        return self.stack(built).resolve(path, last=False)[1]

    def text(self, built: Built, path: str) -> str:
        node = self.stack(built).resolve(path)[1]
        assert node is not None, f"{path} is not in the image"
        return Path(node.place).read_text()

    def state(self, name: str) -> str:
        """Of the step whose name holds ``name``."""
        return self.step(name).state

    def step(self, name: str) -> StepFacts:
        found = [step for step in self.steps if name in step.name]
        assert len(found) == 1, f"{name} is in {[step.name for step in self.steps]}"
        return found[0]

    def said(self) -> str:
        return "\n".join(
            line.split(" ", 3)[3]
            for path in sorted(self.log.glob("*.log"))
            for line in path.read_text().splitlines()
            if line.count(" ") >= 3
        )

    def traces(self) -> list[str]:
        """What of builds there still is on the node, beside the cache."""
        places, engine = self.rig.places, self.rig.engine
        found = [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(places.run) in line and "userns" not in line
        ]
        found += [str(path) for path in (*places.build_work.iterdir(), *places.build_bundles.iterdir())]
        found += [str(path) for path in places.fetches.iterdir()]
        found += [str(path) for path in places.addresses.glob("*/10.*")]
        for tree in engine.cgroups.hierarchy.trees():
            found += map(str, (tree / engine.instance).glob("*/build-*"))
        return found


def steps_told(events: Iterable[Event], build: str) -> list[StepFacts]:
    """The steps of the build's last run, each as it was told of last; an event has those that changed."""
    known: dict[int, StepFacts] = {}
    for event in events:
        if isinstance(event, BuildProgressed) and event.build == build:
            known = {} if event.fresh else known
            known |= {step.id: step for step in event.steps}
    return [known[number] for number in sorted(known)]


def _no_pull(reference: str, platform: str) -> Image:
    raise NoSuchImage(f"No such image: {reference}", image=reference)


def context(files: Files) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in files.items():
            _add(tar, name, body)
    return output.getvalue()


def _add(tar: tarfile.TarFile, name: str, body: str | bytes | tuple[Any, ...]) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = 1_600_000_000
    data = b""
    if isinstance(body, tuple):
        kind, text, mode = body
        entry.type, entry.mode = kind, mode
        if kind == tarfile.REGTYPE:
            data = text.encode() if isinstance(text, str) else text
        else:
            entry.linkname = text
    else:
        data = body.encode() if isinstance(body, str) else body
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def link(target: str) -> tuple[bytes, str, int]:
    return tarfile.SYMTYPE, target, 0o777


def directory(mode: int = 0o755) -> tuple[bytes, str, int]:
    return tarfile.DIRTYPE, "", mode


def file(text: str | bytes, mode: int = 0o644) -> tuple[bytes, str | bytes, int]:
    return tarfile.REGTYPE, text, mode
