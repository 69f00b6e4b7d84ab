"""Builds: a job each, fenced by attempt; two at once beside all other jobs.

Of one build the highest attempt wins: a lower one that runs is ended first, a lower one that comes is not
begun. A worker that was killed does its builds again, from what their cache has.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from workers.content import write_durably
from workers.engine import images
from workers.engine.build import builder as engine_builder
from workers.engine.build import mounts, room
from workers.engine.build.bases import scope_of
from workers.engine.build.builder import Builder, Built, Doors, NotedPull, Push
from workers.engine.build.progress import Note, Told
from workers.engine.build.redaction import patterns, redact
from workers.engine.build.watching import LineWatcher, timed
from workers.engine.host import Emit
from workers.engine.images import Image
from workers.engine.logwriting import LogWriter
from workers.engine.transfer import pulls, pushes
from workers.engine.transfer.pulls import Wanted
from workers.engine.transfer.pushes import Target
from workers.errors import NoSuchBlob, SlipwayError
from workers.messages import (
    BuildFinished,
    BuildImage,
    BuildProgressed,
    DropBuild,
    ImageImported,
    JobProgressed,
    PruneBuildCache,
)
from workers.node import Node
from workers.oci.descriptor import Platform
from workers.oci.digest import Digest
from workers.oci.reference import Reference
from workers.tasks import outputs
from workers.tasks.jobs import Cancelled, Check

Writes = Callable[[BinaryIO], None]

DROPPED = 1 << 62
"""The attempt above all others: of a build that is gone."""
MOUNTS_EVERY = 600.0
"""Seconds: to know how large cache mounts are takes a walk through all of them."""
LOG_SEGMENT = 16 << 20
KEPT = 7 * 24 * 3600.0
"""Seconds a dropped build is remembered: longer than a command for it could still come."""
_DROP_WAIT = 10.0
_LOOK = 0.1


@dataclass
class Running:
    attempt: int
    superseded: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Builds:
    """Of one worker; safe to share between its threads."""

    def __init__(self, node: Node, builder: Builder | None = None) -> None:
        self._node = node
        self._builder = builder or Builder.open(node.engine)
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._mounts_swept = float("-inf")

    def recover(self) -> None:
        """Before anything is built: nothing is left of what a killed worker had in hand."""
        room.recover(self._node.engine)
        self._builder.cache.tidy()
        self._forget_old()

    # ------------------------------------------------------------------ the job

    def perform(self, command: BuildImage, emit: Emit, check: Check, log: LogWriter) -> None:
        """Raise what made it fail, ``Cancelled`` also when a higher attempt wants its place."""
        with self._fenced(command, check) as running:

            def cancelled() -> None:
                check()
                if running.superseded.is_set():
                    raise Cancelled

            directory = self._node.places.build_log(command.build)
            with LogWriter(directory, segment_bytes=LOG_SEGMENT, keep=8) as written:
                self._build(command, emit, cancelled, written)

    def _build(self, command: BuildImage, emit: Emit, cancelled: Check, log: LogWriter) -> None:
        def tell(told: Told) -> None:
            emit(
                BuildProgressed(
                    command.job, command.build, command.attempt, told.steps, told.total, told.fresh
                )
            )

        check = timed(cancelled, time.monotonic() + command.timeout)
        doors = Doors(
            open_upload=self._open_upload,
            pull=self._pull(command, check),
            push=self._push(command, check),
            keep_output=self._keep_output(command, check),
            tell=tell,
            log=log,
            cancelled=cancelled,
        )
        try:
            built = engine_builder.build(self._builder, command, doors)
        except SlipwayError as error:
            _redact(error, command)
            raise
        output = built.output
        size = self._node.uploads.content.size(Digest.parse(output)) if output else 0
        _announce(command, built, size, emit)

    def tidy(self, command: BuildImage) -> None:
        """Keep the cache within its budget."""
        self._give_up_bases(command.project.id)
        environment = self._node.environment
        self._builder.cache.sweep(
            max_bytes=environment.build_cache_bytes, max_age=environment.build_cache_days * 86400.0
        )
        if time.monotonic() - self._mounts_swept < MOUNTS_EVERY:
            return
        self._mounts_swept = time.monotonic()
        mounts.sweep(
            self._node.places,
            max_bytes=environment.build_cache_bytes,
            max_age=environment.build_cache_days * 86400.0,
        )

    def _give_up_bases(self, project: str) -> None:
        """What was pulled for builds long ago; images made of it keep its layers."""
        store, scope = self._node.engine.images, scope_of(project)
        limit = time.time() - self._node.environment.build_cache_days * 86400.0
        for image in list(images.granted(store, scope)):
            with contextlib.suppress(FileNotFoundError):
                if store.places.grant(scope, image.image_id).stat().st_mtime < limit:
                    images.withdraw(store, scope, image.image_id)

    # ------------------------------------------------------------------ doors

    def _open_upload(self, digest: str) -> BinaryIO:
        try:
            return self._node.uploads.content.open(Digest.parse(digest))
        except NoSuchBlob as error:
            raise NoSuchBlob(
                "The uploaded build context is no longer on the node: upload it again", digest=digest
            ) from error

    def _pull(self, command: BuildImage, cancelled: Check) -> NotedPull:
        """Into a list of the project's builds: what people see as their images is not changed by FROM."""
        store, scope = self._node.engine.images, scope_of(command.project.id)

        def pull(text: str, platform: str, note: Note) -> Image:
            reference = Reference.parse(text)
            wanted = Wanted(
                reference,
                Platform.of(platform),
                command.access_to(reference.registry),
                command.shared_scope,
            )
            return pulls.pull(store, scope, wanted, watcher=LineWatcher(cancelled, note)).image

        return pull

    def _push(self, command: BuildImage, cancelled: Check) -> Push:
        def push(scope: str, image: Image, text: str, note: Note) -> None:
            reference = Reference.parse(text)
            target = Target(reference, command.access_to(reference.registry), "zstd")
            watcher = LineWatcher(cancelled, note)
            pushes.push(self._node.engine.images, scope, image.image_id, target, watcher=watcher)

        return push

    def _keep_output(self, command: BuildImage, cancelled: Check) -> Callable[[Writes], str]:
        return lambda write: outputs.keep(self._node.uploads, write, cancelled, command.output_max)

    # ------------------------------------------------------------------ fencing

    @contextlib.contextmanager
    def _fenced(self, command: BuildImage, check: Check) -> Iterator[Running]:
        """Alone with the build, as its highest attempt."""
        mine = Running(command.attempt)
        while True:
            with self._lock:
                if self._recorded(command.build) > command.attempt:
                    raise Cancelled
                other = self._running.get(command.build)
                if other is None:
                    self._record(command)
                    self._running[command.build] = mine
                    break
                if other.attempt >= command.attempt:
                    raise Cancelled
                other.superseded.set()
            while not other.ended.wait(_LOOK):
                check()
        try:
            yield mine
        finally:
            with self._lock:
                del self._running[command.build]
            mine.ended.set()

    def _recorded(self, build: str) -> int:
        try:
            return int(json.loads(self._node.places.build_record(build).read_text())["attempt"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def _record(self, command: BuildImage) -> None:
        body = {"attempt": command.attempt}
        write_durably(self._node.places.build_record(command.build), json.dumps(body).encode())

    def drop(self, command: DropBuild) -> bool:
        """Nothing of the build is left but a mark against late commands; False when it is still ending.

        Its upload is the platform's to release: the same bytes may be another build's by now.
        """
        places = self._node.places
        path = places.build_record(command.build)
        with self._lock:
            write_durably(path, json.dumps({"attempt": DROPPED}).encode())
            running = self._running.get(command.build)
            if running is not None:
                running.superseded.set()
        if running is not None and not running.ended.wait(_DROP_WAIT):
            return False
        shutil.rmtree(places.build_log(command.build), ignore_errors=True)
        return True

    def prune(self, command: PruneBuildCache, emit: Emit) -> None:
        """Tell how much it was."""
        gone, size = self._builder.cache.prune(command.scope)
        mounts.forget(self._node.places, command.scope)
        emit(JobProgressed(command.job, f"Forgot {gone} steps of {size / 1e6:.1f} MB and the cache mounts"))

    def drop_project(self, project: str) -> None:
        """Forget what is kept for the project's next build; there is none. Repeatable."""
        self._builder.cache.forget(project)
        mounts.forget(self._node.places, project)
        images.withdraw_all(self._node.engine.images, scope_of(project))

    def _forget_old(self) -> None:
        limit = time.time() - KEPT
        for path in self._node.places.build_records.iterdir():
            if self._recorded(path.name) == DROPPED and path.stat().st_mtime < limit:
                path.unlink()


def _redact(error: SlipwayError, command: BuildImage) -> None:
    known = patterns(command.hidden())
    if known:
        error.message = redact(error.message, known)
        error.args = (error.message,)
        error.facts = {
            name: redact(value, known) if isinstance(value, str) else value
            for name, value in error.facts.items()
        }


def _announce(command: BuildImage, built: Built, output_size: int, emit: Emit) -> None:
    image = built.image
    if image is not None:
        emit(
            ImageImported(
                job=command.job,
                scope=command.scope,
                image_id=image.image_id,
                manifest_digest=image.manifest_digest,
                config=image.config_text,
                layers=image.layers,
                references=command.options.tags,
            )
        )
    emit(
        BuildFinished(
            job=command.job,
            build=command.build,
            attempt=command.attempt,
            image_id=image.image_id if image else None,
            manifest_digest=image.manifest_digest if image else None,
            output=built.output,
            output_size=output_size,
            warnings=built.warnings,
            provenance=built.provenance,
        )
    )
