"""The agent's HTTP: logs by position, kill, usage, uploads; over a real unix socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.workers.conftest import eventually
from tests.workers.fakes import FakeContainers
from workers.agent import following
from workers.agent.logwatch import LogWatch
from workers.agent.streams import Streams, parse_signal
from workers.content import DirectoryContent, DirectoryWriter
from workers.contexts import Contexts
from workers.engine import logs
from workers.engine.doctor import Check
from workers.engine.logwriting import LogWriter
from workers.engine.runtime.process import Process
from workers.engine.saving import Saved
from workers.errors import NoSpace, NoSuchImage, SlipwayError, UserError
from workers.uploads import Uploads

ID = "a" * 64
RUNNING = Process(1, 1)


class Log:
    """Writes as conmon does: whole CRI lines, appended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.file = (directory / logs.ACTIVE).open("ab", buffering=0)

    def write(self, *lines: str, stream: str = "stdout", flag: str = "F") -> None:
        for line in lines:
            self.file.write(f"2026-11-20T10:00:00.000000001+00:00 {stream} {flag} {line}\n".encode())

    def rotate(self) -> None:
        def reopen() -> None:
            self.file.close()
            self.file = (self.directory / logs.ACTIVE).open("ab", buffering=0)

        logs.rotate(self.directory, reopen)


class Agent:
    """A served ``Streams`` and a client for it."""

    def __init__(self, root: Path, containers: FakeContainers, uploads: Uploads) -> None:
        self.socket = root / "agent.sock"
        self.containers = containers
        self.uploads = uploads
        self.job_logs = root / "job-logs"
        self.saved: Saved | SlipwayError = NoSuchImage("No such image")
        self.asked: tuple[object, ...] = ()

    def save(self, *asked: object) -> Saved:
        self.asked = asked
        if isinstance(self.saved, SlipwayError):
            raise self.saved
        return self.saved

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        self.watch = LogWatch()
        streams = Streams(
            node="local",
            boot="b",
            containers=self.containers,
            uploads=self.uploads,
            contexts=Contexts(self.job_logs.parent / "contexts", self.uploads),
            watch=self.watch,
            job_log=lambda job: self.job_logs / job,
            save=self.save,
            build_log=lambda build: self.job_logs / f"build-{build}",
            examine=lambda: (Check("kernel", "ok", "6.18"),),
        )
        runner = web.AppRunner(streams.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(self.socket)).start()
        connector = aiohttp.UnixConnector(path=str(self.socket))
        async with aiohttp.ClientSession("http://agent", connector=connector) as self.client:
            yield
        await runner.cleanup()
        self.watch.close()

    async def entries(self, **query: int) -> list[dict[str, Any]]:
        async with self.client.get(f"/v1/containers/{ID}/logs", params=query) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "application/x-ndjson"
            return [json.loads(line) async for line in answer.content if line.strip()]

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.client.request(method, path, **options) as answer:
            return answer.status, await answer.json() if answer.content_length else None


@pytest.fixture
def root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="slipway-agent-"))
    yield root
    shutil.rmtree(root)


@pytest.fixture
async def agent(root: Path) -> AsyncIterator[Agent]:
    (root / "uploads").mkdir()
    uploads = Uploads(root / "uploads", DirectoryContent(root / "content"))
    agent = Agent(root, FakeContainers(root / "logs"), uploads)
    async with agent.serve():
        yield agent


@pytest.fixture
def log(agent: Agent, root: Path) -> Iterator[Log]:
    agent.containers.inits[ID] = RUNNING
    log = Log(root / "logs" / ID)
    yield log
    log.file.close()


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["l"] for entry in entries]


async def test_health_names_node_and_boot(agent: Agent) -> None:
    assert await agent.request("GET", "/v1/health") == (200, {"ok": True, "node": "local", "boot": "b"})


async def test_a_log_is_read_to_its_end_as_it_is(agent: Agent, log: Log) -> None:
    log.write("one")
    log.write("two", stream="stderr")
    log.write("thr", flag="P")
    entries = await agent.entries()
    assert [(entry["l"], entry["s"], entry["f"]) for entry in entries] == [
        ("one", "stdout", True),
        ("two", "stderr", True),
        ("thr", "stdout", False),
    ]
    assert entries[0]["p"] == 0
    assert [entry["p"] for entry in entries[1:]] == [entry["n"] for entry in entries[:-1]]
    assert entries[0]["t"] == "2026-11-20T10:00:00.000000001+00:00"


async def test_reading_on_from_any_position_gives_the_rest(agent: Agent, log: Log) -> None:
    log.write(*(f"line {number}" for number in range(50)))
    everything = await agent.entries()
    for index in (0, 1, 25, 49):
        assert await agent.entries(position=everything[index]["n"]) == everything[index + 1 :]


async def test_the_tail_of_a_log(agent: Agent, log: Log) -> None:
    log.write(*(f"line {number}" for number in range(50)))
    assert texts(await agent.entries(tail=3)) == ["line 47", "line 48", "line 49"]
    assert texts(await agent.entries(tail=0)) == []


async def test_a_followed_log_shows_lines_as_they_are_written_and_ends_with_the_container(
    agent: Agent, log: Log
) -> None:
    log.write("before")
    async with agent.client.get(f"/v1/containers/{ID}/logs", params={"follow": 1}) as answer:
        lines = aiter(answer.content)
        assert json.loads(await anext(lines))["l"] == "before"
        for text in ("first", "second"):
            await asyncio.to_thread(eventually, lambda: agent.watch.is_awaited(log.directory))
            log.write(text)
            assert json.loads(await anext(lines))["l"] == text
        log.write("last words")
        agent.containers.inits[ID] = None
        agent.watch.ring(log.directory)
        assert texts([json.loads(line) async for line in lines]) == ["last words"]


async def test_following_an_ended_container_ends_with_its_log(agent: Agent, log: Log) -> None:
    log.write("all")
    agent.containers.inits[ID] = None
    assert texts(await agent.entries(follow=1)) == ["all"]


async def test_the_log_of_a_job_is_followed_until_nobody_writes_it_any_more(agent: Agent) -> None:
    written = LogWriter(agent.job_logs / "j")
    written.write("3 of 4", "7:stderr")
    async with agent.client.get("/v1/jobs/j/logs", params={"follow": 1}) as answer:
        lines = aiter(answer.content)
        first = json.loads(await anext(lines))
        assert (first["s"], first["l"], first["f"]) == ("7:stderr", "3 of 4", True)
        await asyncio.to_thread(eventually, lambda: agent.watch.is_awaited(agent.job_logs / "j"))
        written.write("4 of 4")
        assert json.loads(await anext(lines))["l"] == "4 of 4"
        written.close()  # wakes by itself
        assert await answer.content.read() == b""
    params = {"position": first["n"]}
    async with agent.client.get("/v1/jobs/j/logs", params=params) as answer:
        assert texts([json.loads(line) async for line in answer.content]) == ["4 of 4"]


async def test_a_job_that_wrote_nothing_has_no_log(agent: Agent) -> None:
    status, body = await agent.request("GET", "/v1/jobs/nobody/logs")
    assert (status, body["code"]) == (404, "LOG_UNKNOWN")


async def test_a_silent_follow_gives_signs_of_life_and_notices_an_end_nobody_rang(
    agent: Agent, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SIGN_OF_LIFE", 0.02)
    async with agent.client.get(f"/v1/containers/{ID}/logs", params={"follow": 1}) as answer:
        assert await anext(aiter(answer.content)) == b"\n"
        agent.containers.inits[ID] = None
        rest = await answer.content.read()
    assert rest.strip() == b""


async def test_followers_that_break_off_and_resume_by_position_miss_and_double_nothing(
    agent: Agent, log: Log
) -> None:
    written = [f"line {number}" for number in range(2000)]

    async def write() -> None:
        for index, line in enumerate(written):
            log.write(line)
            if index % 100 == 0:
                await asyncio.sleep(0)
            if index % 400 == 399:
                log.rotate()
        agent.containers.inits[ID] = None
        agent.watch.ring(log.directory)

    writing = asyncio.create_task(write())
    seen: list[str] = []
    position, has_ended = 0, False
    while not has_ended:
        query = {"follow": 1, "position": position}
        taken, has_ended = 0, True
        async with agent.client.get(f"/v1/containers/{ID}/logs", params=query) as answer:
            async for line in answer.content:
                if line.strip():
                    entry = json.loads(line)
                    assert entry["p"] == position
                    seen.append(entry["l"])
                    position, taken = entry["n"], taken + 1
                if taken == 333:
                    has_ended = False
                    break
    await writing
    assert seen == written


async def test_a_reader_who_stops_reading_stops_the_agent_from_reading_on(
    agent: Agent, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(*("x" * 1000 for _ in range(20_000)))
    read_up_to = 0
    real = logs.read

    def observed(directory: Path, position: int, *, limit_bytes: int) -> logs.Chunk:
        nonlocal read_up_to
        chunk = real(directory, position, limit_bytes=limit_bytes)
        read_up_to = max(read_up_to, chunk.next)
        return chunk

    monkeypatch.setattr(logs, "read", observed)
    reader, writer = await asyncio.open_unix_connection(str(agent.socket), limit=1)
    writer.write(f"GET /v1/containers/{ID}/logs HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
    await writer.drain()
    await asyncio.to_thread(eventually, lambda: read_up_to > 0)
    before = -1
    while read_up_to != before:  # until the sockets' buffers are full
        before = read_up_to
        await asyncio.sleep(0.1)
    assert read_up_to < 4_000_000
    writer.close()
    await writer.wait_closed()
    del reader


async def test_a_watch_ends_with_its_last_follower(agent: Agent, log: Log) -> None:
    async with agent.client.get(f"/v1/containers/{ID}/logs", params={"follow": 1}):
        await asyncio.to_thread(eventually, lambda: agent.watch.is_awaited(log.directory))
    log.write("wakes the follower, who finds its reader gone")
    log.write("again")
    agent.containers.inits[ID] = None
    agent.watch.ring(log.directory)
    await asyncio.to_thread(eventually, lambda: not agent.watch.is_awaited(log.directory))


async def test_an_unknown_container_is_a_404_with_its_code(agent: Agent) -> None:
    for method, path in (("GET", "logs"), ("GET", "usage"), ("POST", "kill")):
        status, body = await agent.request(method, f"/v1/containers/{'b' * 64}/{path}")
        assert (status, body["code"], body["facts"]) == (404, "CONTAINER_UNKNOWN", {"container": "b" * 64})


@pytest.mark.parametrize("query", [{"position": "-1"}, {"position": "x"}, {"tail": "1", "position": "0"}])
async def test_a_query_that_cannot_be_is_a_400(agent: Agent, log: Log, query: dict[str, str]) -> None:
    status, body = await agent.request("GET", f"/v1/containers/{ID}/logs", params=query)
    assert (status, body["code"]) == (400, "BAD_REQUEST")


async def test_what_is_not_there_answers_as_everything_else_does(agent: Agent) -> None:
    status, body = await agent.request("GET", "/v1/nothing")
    assert (status, set(body)) == (404, {"code", "message", "facts"})


async def test_kill_sends_the_signal(agent: Agent, log: Log) -> None:
    assert await agent.request("POST", f"/v1/containers/{ID}/kill", json={"signal": "SIGUSR1"}) == (204, None)
    assert agent.containers.killed == [(ID, 10)]


async def test_killing_what_does_not_run_is_a_409(agent: Agent, log: Log) -> None:
    agent.containers.inits[ID] = None
    status, body = await agent.request("POST", f"/v1/containers/{ID}/kill", json={"signal": "TERM"})
    assert (status, body["code"]) == (409, "CONTAINER_NOT_RUNNING")


async def test_an_unknown_signal_is_a_400(agent: Agent, log: Log) -> None:
    status, body = await agent.request("POST", f"/v1/containers/{ID}/kill", json={"signal": "SIGNOPE"})
    assert (status, body["message"]) == (400, "'SIGNOPE' is no signal; use a name like SIGTERM or a number")


@pytest.mark.parametrize(("text", "number"), [("SIGTERM", 15), ("kill", 9), ("HUP", 1), ("12", 12), (3, 3)])
def test_signals_by_name_and_number(text: object, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "SIG", "-9", None, "SIGSIGTERM"])
def test_what_is_no_signal(text: object) -> None:
    with pytest.raises(UserError):
        parse_signal(text)


async def test_usage(agent: Agent, log: Log) -> None:
    status, body = await agent.request("GET", f"/v1/containers/{ID}/usage")
    assert (status, body) == (200, {"cpu_ns": 1, "memory_bytes": 2, "memory_limit": 3, "pids": 4})


async def test_doctor(agent: Agent) -> None:
    status, body = await agent.request("GET", "/v1/doctor")
    assert (status, body) == (200, [{"name": "kernel", "status": "ok", "why": "6.18", "fix": ""}])


async def test_an_upload_arrives_whole_and_under_its_digest(agent: Agent) -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(300):
            yield bytes([number % 256]) * 10_000

    status, answer = await agent.request("PUT", "/v1/uploads", data=body())
    content = b"".join([bytes([number % 256]) * 10_000 for number in range(300)])
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (status, answer) == (201, {"digest": digest, "size": 3_000_000})
    assert (await agent.request("DELETE", f"/v1/uploads/{digest}"))[0] == 204
    assert blobs(agent) == []


async def test_an_upload_that_breaks_off_leaves_nothing(agent: Agent) -> None:
    _, writer = await asyncio.open_unix_connection(str(agent.socket))
    writer.write(
        b"PUT /v1/uploads HTTP/1.1\r\nHost: agent\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 2_000_000
    )
    await writer.drain()
    content = agent.uploads.content.root
    await asyncio.to_thread(eventually, lambda: any((content / "ingest").iterdir()))
    writer.close()
    await writer.wait_closed()
    await asyncio.to_thread(eventually, lambda: not any((content / "ingest").iterdir()))
    assert blobs(agent) == []


async def test_a_full_disk_is_a_507_and_leaves_nothing(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: DirectoryWriter, chunk: bytes) -> None:
        self.abort()
        raise NoSpace("No space left", free_bytes=0)

    monkeypatch.setattr(DirectoryWriter, "write", full)
    status, body = await agent.request("PUT", "/v1/uploads", data=b"x" * 10)
    assert (status, body["code"], body["facts"]) == (507, "NO_SPACE", {"free_bytes": 0})
    assert blobs(agent) == []


def blobs(agent: Agent) -> list[Path]:
    return list((agent.uploads.content.root / "blobs" / "sha256").iterdir())
