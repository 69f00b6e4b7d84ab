"""A node's agent as far as the platform can tell: the HTTP of docs/architecture.md, 4, on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aiohttp import web

from workers.content import DirectoryContent
from workers.contexts import Contexts
from workers.errors import NoSuchBlob, SlipwayError
from workers.uploads import Uploads


@dataclass
class FakeLog:
    """Lines of one container or job; ``ended`` lets those who follow it go."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write(self, *lines: str, stream: str = "stdout") -> None:
        async with self.changed:
            self.lines += [(stream, line) for line in lines]
            self.changed.notify_all()

    async def end(self) -> None:
        async with self.changed:
            self.ended = True
            self.changed.notify_all()


class FakeAgent:
    """Positions are the number of the line times ten. ``kills`` and ``uploads`` are what was asked of it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.logs: dict[str, FakeLog] = {}
        self.kills: list[tuple[str, str]] = []
        self.uploads: dict[str, int] = {}
        self.dropped: list[str] = []
        self.kept: list[str] = []
        self._contexts = _contexts(socket.parent / "node-contexts")
        self.followers = 0
        self.archives: dict[str, list[bytes]] = {}
        """Image id to the pieces of its archive."""
        self.saved: list[tuple[str, str, str, list[str]]] = []
        self.cut_archive = False
        self.checks: list[dict[str, str]] = [
            {"name": "kernel", "status": "ok", "why": "6.12.48, overlay with idmapped mounts", "fix": ""},
            {"name": "cgroups", "status": "degraded", "why": "hybrid layout", "fix": "boot with cgroup v2"},
            {"name": "crun", "status": "missing", "why": "no such program", "fix": "apt-get install crun"},
        ]
        """What the doctor says."""
        self.refuse: tuple[int, str] | None = None
        """Status and code of the answer to everything."""
        self.cut_after: int | None = None
        """Break a log off after so many lines, once."""
        self._runner: web.AppRunner | None = None

    def log(self, writer: str) -> FakeLog:
        """Of a container, or of a job."""
        return self.logs.setdefault(writer, FakeLog())

    async def start(self) -> None:
        app = web.Application(middlewares=[self._refusals], client_max_size=1 << 40)
        app.add_routes(
            [
                web.get("/v1/containers/{id}/logs", self._logs),
                web.get("/v1/jobs/{id}/logs", self._logs),
                web.post("/v1/containers/{id}/kill", self._kill),
                web.get("/v1/doctor", self._doctor),
                web.put("/v1/uploads", self._upload),
                web.delete("/v1/uploads/{digest}", self._drop),
                web.get("/v1/images/{scope}/{image}/archive", self._archive),
                web.post("/v1/uploads/{digest}", self._keep),
                web.get("/v1/uploads/{digest}", self._read),
                web.post("/v1/contexts/{scope}", self._propose),
                web.put("/v1/contexts/{scope}/{context}", self._fill),
                web.post("/v1/contexts/{scope}/{context}/archive", self._assemble),
                web.get("/v1/builds/{id}/logs", self._logs),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _refusals(self, request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:
        if self.refuse is not None:
            status, code = self.refuse
            return web.json_response({"code": code, "message": "No.", "facts": {"free": 1}}, status=status)
        try:
            return await handler(request)  # type: ignore[operator,no-any-return]  # aiohttp's own handler type
        except SlipwayError as error:
            body = {"code": error.code, "message": error.message, "facts": error.facts}
            return web.json_response(body, status=400)

    async def _doctor(self, request: web.Request) -> web.Response:
        return web.json_response(self.checks)

    async def _kill(self, request: web.Request) -> web.Response:
        self.kills.append((request.match_info["id"], (await request.json())["signal"]))
        return web.Response(status=204)

    async def _upload(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
        name = f"sha256:{digest.hexdigest()}"
        self.uploads[name] = size
        return web.json_response({"digest": name, "size": size}, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        if request.match_info["digest"] not in self.uploads:
            raise NoSuchBlob("Gone.")
        return web.Response(body=b"what was built")

    async def _keep(self, request: web.Request) -> web.Response:
        digest = request.match_info["digest"]
        self.kept.append(digest)
        return web.json_response({"digest": digest, "size": self.uploads.get(digest, 0)})

    async def _propose(self, request: web.Request) -> web.Response:
        return web.json_response(
            asdict(self._contexts.propose(request.match_info["scope"], await request.read()))
        )

    async def _fill(self, request: web.Request) -> web.Response:
        contents = self._contexts.contents(request.match_info["scope"], request.match_info["context"])
        with contextlib.closing(contents):
            contents.feed(await request.read())
            contents.finish()
        return web.json_response({"taken": contents.taken})

    async def _assemble(self, request: web.Request) -> web.Response:
        digest, size = self._contexts.assemble(request.match_info["scope"], request.match_info["context"])
        self.uploads[str(digest)] = size
        return web.json_response({"digest": str(digest), "size": size}, status=201)

    async def _drop(self, request: web.Request) -> web.Response:
        self.dropped.append(request.match_info["digest"])
        self.uploads.pop(request.match_info["digest"], None)
        return web.Response(status=204)

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        scope, image = request.match_info["scope"], request.match_info["image"]
        self.saved.append((scope, image, request.query["format"], request.query.getall("name", [])))
        if image not in self.archives:
            body = {"code": "IMAGE_UNKNOWN", "message": "No such image.", "facts": {}}
            return web.json_response(body, status=404)
        answer = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
        await answer.prepare(request)
        for piece in self.archives[image]:
            await answer.write(piece)
        if self.cut_archive:
            raise ConnectionResetError("cut")
        await answer.write_eof()
        return answer

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        log = self.logs.get(request.match_info["id"])
        if log is None:
            code = "LOG_UNKNOWN" if "/jobs/" in request.path else "CONTAINER_UNKNOWN"
            body = {"code": code, "message": "No such thing.", "facts": {}}
            return web.json_response(body, status=404)
        at = int(request.query.get("position", 0)) // 10
        if "tail" in request.query:
            at = max(0, len(log.lines) - int(request.query["tail"]))
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        self.followers += 1
        try:
            async for line in self._entries(log, at, follow=request.query.get("follow") == "1"):
                await answer.write(line)
        finally:
            self.followers -= 1
        return answer

    async def _entries(self, log: FakeLog, at: int, *, follow: bool) -> AsyncIterator[bytes]:
        while True:
            while at < len(log.lines):
                if self.cut_after is not None and at >= self.cut_after:
                    self.cut_after = None
                    raise ConnectionResetError("cut")
                stream, text = log.lines[at]
                entry = {"p": at * 10, "n": at * 10 + 10, "t": f"2026-01-01T00:00:{at % 60:02}Z", "s": stream}
                yield json.dumps({**entry, "l": text, "f": True}).encode() + b"\n"
                at += 1
            if not follow or log.ended:
                return
            async with log.changed:
                while not log.ended and at >= len(log.lines):
                    await log.changed.wait()


def _contexts(root: Path) -> Contexts:
    """The node's own: what it keeps of folders is no stranger to the platform's tests."""
    (root / "uploads").mkdir(parents=True, exist_ok=True)
    return Contexts(root / "contexts", Uploads(root / "uploads", DirectoryContent(root / "content")))


@contextlib.asynccontextmanager
async def running(socket: Path) -> AsyncIterator[FakeAgent]:
    agent = FakeAgent(socket)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()
