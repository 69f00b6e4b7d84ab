"""One build, from the request to its result; what is shared by all builds of a node is a ``Builder``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from workers.addresses import is_public
from workers.engine import images
from workers.engine import layers as layer_store
from workers.engine.build import addresses, cacheimages, exporting, provenance, room, sshkeys
from workers.engine.build.addresses import Allowed
from workers.engine.build.bases import Bases, Pull, Scope, scope_of
from workers.engine.build.cache import Cache, Session
from workers.engine.build.contents import Digests
from workers.engine.build.contexts import Context
from workers.engine.build.doing import do, stamp
from workers.engine.build.fetching import Fetcher
from workers.engine.build.git import Account, Git
from workers.engine.build.graph import Graph
from workers.engine.build.loading import Loader
from workers.engine.build.planning import plan
from workers.engine.build.progress import Note, Progress, Tell
from workers.engine.build.redaction import Known, patterns, redact
from workers.engine.build.requesting import plan_request
from workers.engine.build.room import Room
from workers.engine.build.solver import Task, stages
from workers.engine.build.steps import CONTEXT
from workers.engine.build.unpacking import ContextLimits
from workers.engine.build.watching import timed
from workers.engine.dockerfile.reading import parse
from workers.engine.host import Engine
from workers.engine.images import Image
from workers.engine.layouts import host_platform
from workers.engine.logwriting import LogWriter
from workers.errors import BuildUnsupported, NoSuchImage, SlipwayError
from workers.messages import BuildImage, RegistryAccess
from workers.oci.reference import Reference

GIT_TOKEN, TOKEN_USER = "GIT_AUTH_TOKEN", "x-access-token"


@dataclass(frozen=True)
class Builder:
    """Of one process; safe to share between its threads."""

    engine: Engine
    cache: Cache
    digests: Digests = field(default_factory=Digests)
    context_limits: ContextLimits = field(default_factory=ContextLimits)

    @classmethod
    def open(cls, engine: Engine) -> Builder:
        return cls(engine, Cache(engine.places))


NotedPull = Callable[[str, str, Note], Image]
"""As ``Pull``, saying how far it is."""
Push = Callable[[str, Image, str, Note], None]
"""(scope, image of it, reference in full): the registry has the image. Raises what went wrong."""


@dataclass(frozen=True)
class Doors:
    """What a build needs of the world around it."""

    open_upload: Callable[[str], BinaryIO]
    """An archive the node took, by its digest."""
    pull: NotedPull
    push: Push
    keep_output: Callable[[Callable[[BinaryIO], None]], str]
    """Takes what writes a tar; the digest of the upload that holds it."""
    tell: Tell
    log: LogWriter
    cancelled: Callable[[], None]
    """Raises when somebody wants the build ended."""
    directory: Path | None = None
    """In place of an upload: a directory of the node, by hand only."""


@dataclass(frozen=True)
class Built:
    image: Image | None
    output: str | None
    warnings: tuple[str, ...]
    provenance: str


def build(builder: Builder, command: BuildImage, doors: Doors) -> Built:
    """Raise ``BuildFailed`` and its kind, ``InvalidDockerfile``, ``NoSpace``, what ``doors.cancelled``
    raises. However it ends, nothing is left but the cache; a killed one ``room.recover`` cleans up."""
    _refuse(command)
    engine = builder.engine
    known = patterns(command.hidden())
    progress = Progress(doors.tell, lambda text: redact(text, known))
    with ExitStack() as stack:
        place = stack.enter_context(room.opened(engine, command.build, command.project, command.limits))
        session = stack.enter_context(builder.cache.session(command.project.id))
        stack.enter_context(layer_store.lease(engine.places))
        deadline = time.monotonic() + command.timeout
        inside = replace(doors, cancelled=timed(doors.cancelled, deadline))
        attempt = _Attempt(builder, command, inside, progress, place, deadline, known)
        try:
            built = attempt.run(session)
        except BaseException:
            progress.abandon(cancelled=_was_cancelled(doors))
            progress.flush(now=True)
            raise
        progress.flush(now=True)
        return built


def _was_cancelled(doors: Doors) -> bool:
    try:
        doors.cancelled()
    except Exception:  # noqa: BLE001 - whatever it raises, it says so
        return True
    return False


def _refuse(command: BuildImage) -> None:
    options = command.options
    cacheimages.parse_imports(options.cache_from)
    cacheimages.parse_exports(options.cache_to, options.args)
    if options.squash:
        raise BuildUnsupported(
            "squash: layers are shared and cached as they are made; use a stage and COPY --from"
        )
    if options.output not in ("image", "tar", "files"):
        raise BuildUnsupported(f"The output {options.output!r} is not known: image, tar or files")


@dataclass
class _Attempt:
    builder: Builder
    command: BuildImage
    doors: Doors
    progress: Progress
    room: Room
    deadline: float
    known: Known
    started: float = field(default_factory=time.time)
    warnings: list[str] = field(default_factory=list)

    def run(self, session: Session) -> Built:
        command = self.command
        host = str(host_platform())
        loader = self._loader()
        context = self._context(loader)
        named = loader.named(command.options.contexts, self.progress.line)
        bases = self._bases()
        request = plan_request(command, host, named)
        dockerfile = parse(context.dockerfile, context.filename)
        graph = plan(dockerfile, request, bases.resolve, ignore=context.ignore)
        task = self._task(graph, session, bases, loader, context, named)
        self._take_caches_in(session, bases, task.graph.platform)
        stages(task, do)
        return self._result(task, context)

    def _take_caches_in(self, session: Session, bases: Bases, platform: str) -> None:
        """A cache that cannot be had makes a build slower, not wrong."""
        for reference in cacheimages.parse_imports(self.command.options.cache_from):
            line = self.progress.add(f"importing cache from {reference}")
            self.progress.begin(line)
            try:
                image = bases.found(reference, platform, self._noted_pull(line))
            except SlipwayError as error:
                self._warn(f"No cache from {reference}: {error.message}")
                self.progress.end(line, reason=error.message)
                continue
            taken = cacheimages.take_in(self.builder.cache, session, image)
            self.warnings += filter(None, [taken.warning(reference)])
            self.progress.end(line, reason=taken.lack or f"{taken.steps} steps")

    def _warn(self, text: str) -> None:
        self.warnings.append(redact(text, self.known))

    # ------------------------------------------------------------------ sources

    def _context(self, loader: Loader) -> Context:
        with self.progress.line("[internal] load build context") as note:
            return loader.context(self.command.source, self.command.options, note)

    def _loader(self) -> Loader:
        """With the fetcher and the git that the steps use as well."""
        places, doors, project = self.builder.engine.places, self.doors, self.command.project
        uid = project.uid_base + 1000
        return Loader(
            room=self.room,
            git=Git(
                places.fetches, uid, self._allowed, doors.cancelled, self.deadline, self._account_for_git
            ),
            fetcher=Fetcher(lambda name: places.build_mount(project.id, f"url-{name}"), self._allowed),
            limits=self.builder.context_limits,
            open_upload=doors.open_upload,
            cancelled=doors.cancelled,
            directory=doors.directory,
        )

    def _bases(self) -> Bases:
        command = self.command
        scopes = [Scope(command.scope, command.local_images)]
        if command.library_scope:
            scopes.append(Scope(command.library_scope, command.library_images))
        if command.shared_scope:
            scopes.append(Scope(command.shared_scope, {}))
        return Bases(self.builder.engine.images, scopes, self._pull, always=command.options.pull)

    def _pull(self, reference: str, platform: str) -> Image:
        """With a line of its own: before the plan is made nothing else shows that it takes its time."""
        line = self.progress.add(f"pulling {Reference.parse(reference).familiar}")
        self.progress.begin(line)
        try:
            image = self._noted_pull(line)(reference, platform)
        except NoSuchImage as error:
            self.progress.end(line, reason=error.message)  # whoever asked may have another
            raise
        self.progress.end(line)
        return image

    def _noted_pull(self, line: int) -> Pull:
        def pull(reference: str, platform: str) -> Image:
            return self.doors.pull(reference, platform, self._note_of(line))

        return pull

    def _note_of(self, line: int) -> Note:
        return lambda text: self.progress.note(line, progress=text)

    def _access(self, host: str) -> RegistryAccess:
        return self.command.access_to(host)

    def _account_for_git(self, url: str) -> Account | None:
        """BuildKit's secrets for git; of one that names no host, only the build's own repository has use.

        Else the project's account at that host, which is for TLS alone.
        """
        parts, held = urlsplit(url), self.command.options.secrets
        token = held.get(f"{GIT_TOKEN}.{parts.hostname}")
        if token is None and parts.netloc == urlsplit(self.command.source.url or "").netloc:
            token = held.get(GIT_TOKEN)
        if token is not None:
            return TOKEN_USER, token.strip()
        access = self.command.access.get(parts.netloc)
        if access is None or parts.scheme != "https" or not access.username or not access.password:
            return None
        return access.username, access.password

    def _allowed(self, host: str) -> Allowed:
        if self._access(host).allow_private:
            return addresses.anything
        networks = self.builder.engine.networks
        return lambda address: is_public(address) or networks.allows(address)

    # ------------------------------------------------------------------ solving

    def _task(
        self,
        graph: Graph,
        session: Session,
        bases: Bases,
        loader: Loader,
        context: Context,
        named: dict[str, Path | str],
    ) -> Task:
        command = self.command
        secrets, keys = sshkeys.split(command.options.secrets)
        directories = {name: each for name, each in named.items() if isinstance(each, Path)}
        return Task(
            graph=graph,
            room=self.room,
            cache=self.builder.cache,
            session=session,
            digests=self.builder.digests,
            bases=bases,
            fetcher=loader.fetcher,
            git=loader.git,
            contexts={CONTEXT: context.directory, **directories},
            secrets=secrets,
            agents={name: sshkeys.keyring(name, text) for name, text in keys.items()},
            redacted=self.known,
            write=self.doors.log.write,
            progress=self.progress,
            cancelled=self.doors.cancelled,
            deadline=self.deadline,
        )

    # ------------------------------------------------------------------ the result

    def _result(self, task: Task, context: Context) -> Built:
        options = self.command.options
        exports = cacheimages.parse_exports(options.cache_to, options.args)
        if options.checks:
            self.warnings += [finding.shown for finding in task.graph.warnings]
        line = self.progress.add("exporting to image" if options.output == "image" else "exporting files")
        self.progress.begin(line)
        self.progress.flush(now=True)  # for long nothing else may change
        if options.output != "image":
            output = self.doors.keep_output(lambda target: exporting.files(task, target))
            self.progress.end(line)
            return Built(None, output, tuple(self.warnings), "")

        note = self._note_of(line)
        image = exporting.image(task, self.command.scope, note, inline=exports.inline)
        self.progress.end(line)
        for reference in exports.references:
            self._export_cache(task, reference, all_stages=exports.all_stages)
        return Built(image, None, tuple(self.warnings), self._provenance(task, context, image))

    def _export_cache(self, task: Task, reference: str, *, all_stages: bool) -> None:
        """The image is there already: that its cache cannot be kept elsewhere is a warning."""
        line = self.progress.add(f"exporting cache to {reference}")
        self.progress.begin(line)
        store, scope = self.builder.engine.images, scope_of(self.command.project.id)
        steps = exporting.cached_steps(task, all_stages=all_stages)
        note = self._note_of(line)
        done = exporting.finished(task, steps, note)
        entries = [done[layer.entry.key] for layer in steps if layer.entry is not None]
        image = cacheimages.image_of(store, scope, entries, task.graph.platform)
        try:
            self.doors.push(scope, image, str(Reference.parse(reference)), note)
            self.progress.end(line)
        except SlipwayError as error:
            self._warn(f"The cache could not be exported to {reference}: {error.message}")
            self.progress.end(line, reason=error.message)
        finally:
            images.withdraw(store, scope, image.image_id)

    def _provenance(self, task: Task, context: Context, image: Image) -> str:
        command, options = self.command, self.command.options
        materials = [
            provenance.image_material(name, base.image.manifest_digest, task.graph.platform)
            for name, base in task.bases.used.items()
        ]
        materials += [provenance.fetched_material(url, digest) for url, digest in task.fetcher.used.items()]
        source = command.source.url.partition("#")[0] if command.source.url else command.source.upload or ""
        return provenance.statement(
            provenance.Facts(
                build=command.build,
                names=options.tags,
                manifest_digest=image.manifest_digest,
                source=_without_credentials(source),
                revision=context.revision,
                dockerfile=context.filename,
                target=options.target or "",
                args=options.args,
                labels=options.labels,
                platform=task.graph.platform,
                materials=tuple(materials),
                started=stamp(self.started),
                ended=stamp(time.time()),
                builder=f"urn:slipway:node:{self.builder.engine.instance}",
            )
        )


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1) if "@" in parts.netloc else url
