"""Jobs that move images from and to registries."""

from __future__ import annotations

from workers.engine import layouts
from workers.engine.host import Emit
from workers.engine.transfer import pulls, pushes
from workers.engine.transfer.pulls import Pulled, Wanted
from workers.engine.transfer.pushes import Target
from workers.messages import (
    ImageImported,
    ImagePushed,
    JobProgressed,
    LayerProgress,
    LayersProgressed,
    PullImage,
    PushImage,
)
from workers.node import Node
from workers.oci.descriptor import Platform
from workers.oci.reference import Reference
from workers.tasks.reporting import Reporter


def pull(node: Node, command: PullImage, emit: Emit, report: Reporter) -> None:
    reference = Reference.parse(command.reference)
    host = layouts.host_platform()
    wanted = Wanted(
        reference,
        Platform.of(command.platform) if command.platform is not None else host,
        command.access,
        command.shared_scope,
        command.known_digest,
        command.fallback_digest,
    )
    pulled = pulls.pull(
        node.engine.images, command.scope, wanted, watcher=_Watcher(command.job, emit, report)
    )
    for warning in pulled.warnings:
        emit(JobProgressed(command.job, warning))
        report.log.write(warning, "stderr")
    report.log.write(_summary(pulled))
    emit(
        ImageImported(
            job=command.job,
            scope=command.scope,
            image_id=pulled.image.image_id,
            manifest_digest=pulled.image.manifest_digest,
            config=pulled.image.config_text,
            layers=pulled.image.layers,
            references=_names(command, reference),
            origin=pulled.origin,
        )
    )


def push(node: Node, command: PushImage, emit: Emit, report: Reporter) -> None:
    reference = Reference.parse(command.reference)
    target = Target(reference, command.access, command.compression, command.provenance)
    watcher = _Watcher(command.job, emit, report)
    pushed = pushes.push(node.engine.images, command.scope, command.image_id, target, watcher=watcher)
    report.log.write(
        f"{command.reference}: {pushed.manifest_digest}, {pushed.size} bytes; layers: "
        f"{pushed.uploaded} uploaded, {pushed.mounted} mounted, {pushed.existed} there already"
    )
    if pushed.provenance:
        report.log.write(f"{command.reference}: the build's provenance refers to it, {pushed.provenance}")
    if pushed.warning:
        warning = f"The build's provenance was not put beside it: {pushed.warning}"
        emit(JobProgressed(command.job, warning))
        report.log.write(warning, "stderr")
    emit(
        ImagePushed(
            job=command.job,
            scope=command.scope,
            image_id=command.image_id,
            reference=command.reference,
            manifest_digest=pushed.manifest_digest,
            size=pushed.size,
            existed=pushed.existed,
            mounted=pushed.mounted,
            uploaded=pushed.uploaded,
        )
    )


def _names(command: PullImage, reference: Reference) -> tuple[str, ...]:
    """A digest is no name: what was pulled by one alone has none unless it is given one."""
    if command.names or reference.tag is None:
        return command.names
    return (Reference(reference.registry, reference.repository, reference.tag).familiar,)


def _summary(pulled: Pulled) -> str:
    origin = pulled.origin
    if origin.stale is not None:
        return f"Taken from the cache, {origin.digest}: {origin.stale}"
    return f"{origin.reference}: {origin.digest}{', there already' if origin.cached else ''}"


class _Watcher:
    """Tells the platform, and the job's log, how far a transfer is."""

    def __init__(self, job: str, emit: Emit, report: Reporter) -> None:
        self._job, self._emit, self._report = job, emit, report

    def check(self) -> None:
        self._report.check()

    def layers(self, layers: tuple[LayerProgress, ...]) -> None:
        self._emit(LayersProgressed(self._job, layers))

    def say(self, line: str, done: int, total: int) -> None:
        self._report(line, done, total)
