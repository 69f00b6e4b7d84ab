"""The agent's HTTP (docs/architecture.md, section 4): bytes with back-pressure from end to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from workers.agent import following, sending
from workers.agent.containers import Containers
from workers.agent.logwatch import LogWatch
from workers.contexts import MANIFEST_MAX, Contexts
from workers.engine import logs, logwriting
from workers.engine.doctor import Check
from workers.engine.saving import Saved
from workers.errors import (
    BadCommand,
    ContextInvalid,
    LayerNotKept,
    NoSpace,
    NoSuchBlob,
    NoSuchContainer,
    NoSuchImage,
    NoSuchLog,
    NotRunning,
    SlipwayError,
    UserError,
)
from workers.oci.digest import Digest
from workers.uploads import Uploads

_STATUS: tuple[tuple[type[SlipwayError], int], ...] = (
    (NoSuchContainer, 404),
    (NoSuchBlob, 404),
    (NoSuchImage, 404),
    (LayerNotKept, 409),
    (NoSuchLog, 404),
    (NotRunning, 409),
    (NoSpace, 507),
    (BadCommand, 400),
    (UserError, 400),
)
_WRITE_BYTES = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Streams:
    """The handlers' collaborators."""

    node: str
    boot: str
    containers: Containers
    uploads: Uploads
    contexts: Contexts
    watch: LogWatch
    job_log: Callable[[str], Path]
    """Where a job's log is, or would be."""
    save: Callable[[str, str, str, Sequence[str]], Saved]
    """An image of a scope as an archive: scope, image id, layout, names."""
    build_log: Callable[[str], Path]
    """Likewise of a build."""
    examine: Callable[[], tuple[Check, ...]]
    """``doctor``; takes a second or more."""

    def application(self) -> web.Application:
        application = web.Application(middlewares=[_errors])
        application.router.add_get("/v1/health", self.health)
        application.router.add_get("/v1/containers/{id}/logs", self.logs)
        application.router.add_get("/v1/jobs/{id}/logs", self.job_logs)
        application.router.add_get("/v1/builds/{id}/logs", self.build_logs)
        application.router.add_post("/v1/containers/{id}/kill", self.kill)
        application.router.add_get("/v1/containers/{id}/usage", self.usage)
        application.router.add_get("/v1/images/{scope}/{id}/archive", self.archive)
        application.router.add_put("/v1/uploads", self.upload)
        application.router.add_delete("/v1/uploads/{digest}", self.drop_upload)
        application.router.add_get("/v1/uploads/{digest}", self.read_upload)
        application.router.add_post("/v1/uploads/{digest}", self.keep_upload)
        application.router.add_post("/v1/contexts/{scope}", self.propose_context)
        application.router.add_put("/v1/contexts/{scope}/{context}", self.fill_context)
        application.router.add_post("/v1/contexts/{scope}/{context}/archive", self.assemble_context)
        application.router.add_get("/v1/doctor", self.doctor)
        return application

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "node": self.node, "boot": self.boot})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        container = request.match_info["id"]
        directory = await asyncio.to_thread(self.containers.log_directory, container)
        return await self._log(request, directory, lambda: self.containers.may_write(container))

    async def job_logs(self, request: web.Request) -> web.StreamResponse:
        return await self._written(request, self.job_log(request.match_info["id"]))

    async def build_logs(self, request: web.Request) -> web.StreamResponse:
        return await self._written(request, self.build_log(request.match_info["id"]))

    async def _written(self, request: web.Request, directory: Path) -> web.StreamResponse:
        """The log of work of our own. Raise ``NoSuchLog``."""
        if not await asyncio.to_thread(directory.is_dir):
            raise NoSuchLog("Nothing was written to this log yet, or it is no longer kept")
        return await self._log(request, directory, lambda: logwriting.is_open(directory))

    async def _log(
        self, request: web.Request, directory: Path, may_write: Callable[[], bool]
    ) -> web.StreamResponse:
        position, tail = _number(request, "position"), _number(request, "tail")
        if position is not None and tail is not None:
            raise UserError("Ask for a position or for a tail, not for both")
        if tail is not None:
            position = await asyncio.to_thread(logs.tail_position, directory, tail)
        if _number(request, "follow"):
            blocks = following.follow(may_write, self.watch, directory, position or 0)
        else:
            blocks = following.read(directory, position or 0)
        return await _send(request, blocks)

    async def kill(self, request: web.Request) -> web.Response:
        body = await _body(request)
        await asyncio.to_thread(
            self.containers.kill, request.match_info["id"], parse_signal(body.get("signal", "SIGKILL"))
        )
        return web.Response(status=204)

    async def usage(self, request: web.Request) -> web.Response:
        return web.json_response(
            asdict(await asyncio.to_thread(self.containers.usage, request.match_info["id"]))
        )

    async def archive(self, request: web.Request) -> web.StreamResponse:
        scope, image_id = request.match_info["scope"], request.match_info["id"]
        layout, names = request.query.get("format", "docker"), request.query.getall("name", [])
        return await sending.send(request, await asyncio.to_thread(self.save, scope, image_id, layout, names))

    async def upload(self, request: web.Request) -> web.Response:
        """The body goes to disk as it comes; what was cut off leaves nothing."""
        with self.uploads.content.begin() as writer:
            async with aclosing(_in_large_pieces(request)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(writer.write, piece)
            size = writer.size
            digest = await asyncio.to_thread(self.uploads.keep, writer)
        return web.json_response({"digest": str(digest), "size": size}, status=201)

    async def drop_upload(self, request: web.Request) -> web.Response:
        digest = Digest.parse(request.match_info["digest"])
        await asyncio.to_thread(self.uploads.release, digest)
        return web.Response(status=204)

    async def read_upload(self, request: web.Request) -> web.StreamResponse:
        digest = Digest.parse(request.match_info["digest"])
        size = await asyncio.to_thread(self.uploads.content.size, digest)
        log.debug("upload_read", digest=str(digest), size=size)
        return web.FileResponse(
            self.uploads.content.path(digest), headers={"Content-Type": "application/octet-stream"}
        )

    async def keep_upload(self, request: web.Request) -> web.Response:
        """Once more: it is dropped when it was released as often as it was kept."""
        digest = Digest.parse(request.match_info["digest"])
        size = await asyncio.to_thread(self.uploads.keep_again, digest)
        return web.json_response({"digest": str(digest), "size": size})

    async def propose_context(self, request: web.Request) -> web.Response:
        manifest = bytearray()
        async for piece in request.content.iter_any():
            manifest += piece
            if len(manifest) > MANIFEST_MAX:
                raise ContextInvalid(f"The manifest is larger than {MANIFEST_MAX >> 20} MiB")
        scope = request.match_info["scope"]
        proposal = await asyncio.to_thread(self.contexts.propose, scope, bytes(manifest))
        return web.json_response(asdict(proposal))

    async def fill_context(self, request: web.Request) -> web.Response:
        scope, context = request.match_info["scope"], request.match_info["context"]
        contents = await asyncio.to_thread(self.contexts.contents, scope, context)
        try:
            async with aclosing(_in_large_pieces(request)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(contents.feed, piece)
            contents.finish()
        finally:
            await asyncio.to_thread(contents.close)
        return web.json_response({"taken": contents.taken})

    async def assemble_context(self, request: web.Request) -> web.Response:
        scope, context = request.match_info["scope"], request.match_info["context"]
        digest, size = await asyncio.to_thread(self.contexts.assemble, scope, context)
        return web.json_response({"digest": str(digest), "size": size}, status=201)

    async def doctor(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(check) for check in await asyncio.to_thread(self.examine)])


def parse_signal(text: Any) -> int:
    """``SIGTERM``, ``term`` or ``15``. Raise ``UserError``."""
    name = str(text).upper()
    if name.isascii() and name.isdigit() and 0 < int(name) < signal.NSIG:
        return int(name)
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError as error:
        raise UserError(f"{str(text)[:40]!r} is no signal; use a name like SIGTERM or a number") from error


async def _send(request: web.Request, blocks: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    # A reader who went away is noticed at the next write, at the latest at the next sign of life.
    with contextlib.suppress(ConnectionError):
        async with aclosing(blocks):
            async for block in blocks:
                await response.write(block)  # waits until the reader has taken most of it
        await response.write_eof()
    return response


async def _in_large_pieces(request: web.Request) -> AsyncGenerator[bytes, None]:
    """So that writing and hashing, in another thread, are worth the way there."""
    buffer = bytearray()
    async for part in request.content.iter_any():
        buffer += part
        if len(buffer) >= _WRITE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(f"{name}={text[:40]}: a whole number from 0 on is needed")
    return int(text)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json() if request.can_read_body else {}
    except ValueError as error:
        raise UserError("The body is no JSON") from error
    if not isinstance(body, dict):
        raise UserError("The body must be a JSON object")
    return body


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _answer(error.status, "BAD_REQUEST", f"{request.method} {request.path}: {error.reason}", {})
    except SlipwayError as error:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return _answer(status, error.code, error.message, error.facts)
    except ConnectionError:
        raise  # the caller is gone: there is nobody to answer
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _answer(500, "INTERNAL", "The agent failed; its log says why", {})


def _answer(status: int, code: str, message: str, facts: dict[str, Any]) -> web.Response:
    return web.json_response({"code": code, "message": message, "facts": facts}, status=status)
