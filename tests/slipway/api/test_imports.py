"""Importing archives over a real server: who may, in which forms, and that bytes only pass through."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from asgiref.sync import sync_to_async

from slipway.accounts.actors import Actor
from slipway.jobs.models import Job
from slipway.projects.models import Resource
from slipway.projects.quotas import set_limit
from tests.factories import make_user
from tests.fake_agent import FakeAgent
from tests.roads import RecordingRoad
from tests.slipway.api.conftest import Edge, People
from workers.messages import ImportImage

ARCHIVE = b"not really a tar" * 5000
DIGEST = f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
TAR = {"Content-Type": "application/x-tar"}


async def post(edge: Edge, people: People, data: Any, **more: Any) -> tuple[int, dict[str, Any], Any]:
    headers = more.pop("headers", TAR)
    token = more.pop("token", people.owner)
    async with edge.request(
        "POST", f"{people.path}/images", token, data=data, headers=headers, params=more
    ) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def test_an_archive_reaches_the_agent_whole_and_makes_a_job(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    query = {"name": "web", "tag": "1.0", "change": ["CMD a", "ENV b=c"]}
    status, body, headers = await post(edge, crowd, ARCHIVE, **query)
    assert status == 202, body
    assert agent.uploads == {DIGEST: len(ARCHIVE)}
    assert (body["kind"], body["state"], body["subject"]) == ("image.import", "queued", "web:1.0")
    assert headers["Location"] == f"{crowd.path}/jobs/{body['id']}"
    [command] = road.sent
    assert command == ImportImage(
        job=body["id"],
        scope=crowd.project.hex,
        upload=DIGEST,
        repository="web",
        tag="1.0",
        changes=("CMD a", "ENV b=c"),
    )
    async with edge.get(headers["Location"], crowd.owner) as answer:
        assert (await answer.json())["id"] == body["id"]


async def test_a_form_works_like_a_plain_body(
    edge: Edge, crowd: People, agent: FakeAgent, road: RecordingRoad
) -> None:
    form = aiohttp.FormData()
    form.add_field("tag", "2.0")
    form.add_field("change", "CMD a")
    form.add_field("change", "CMD b")
    form.add_field("archive", ARCHIVE, filename="image.tar", content_type="application/x-tar")
    status, body, _ = await post(edge, crowd, form, headers={}, name="web")
    assert status == 202, body
    assert agent.uploads == {DIGEST: len(ARCHIVE)}
    [command] = road.sent
    assert isinstance(command, ImportImage)
    assert (command.repository, command.tag, command.changes) == ("web", "2.0", ("CMD a", "CMD b"))


@pytest.mark.parametrize("kind", ["application/gzip", "application/zstd", "application/octet-stream"])
async def test_compressed_archives_pass_as_they_are(
    edge: Edge, crowd: People, agent: FakeAgent, kind: str
) -> None:
    status, body, _ = await post(edge, crowd, ARCHIVE, headers={"Content-Type": kind})
    assert status == 202, body
    assert DIGEST in agent.uploads


class Counted:
    """A body that knows how much of it was taken."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.chunks):
            self.taken += 1
            yield b"x" * 65536
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("who", "query", "status", "code"),
    [
        (None, {}, 401, "AUTHENTICATION_REQUIRED"),
        ("expired", {}, 401, "TOKEN_EXPIRED"),
        ("stranger", {}, 404, "NOT_FOUND"),
        ("elsewhere", {}, 404, "NOT_FOUND"),
        ("readonly", {}, 403, "SCOPE_MISSING"),
        ("viewer", {}, 403, "NOT_ALLOWED"),
        ("owner", {"name": "under_/score"}, 400, "REFERENCE_INVALID"),
        ("owner", {"nam": "web"}, 400, "VALIDATION_FAILED"),
        ("owner", {"tag": "1.0"}, 400, "REFERENCE_INVALID"),
    ],
)
async def test_what_can_be_refused_is_refused_before_the_bytes_flow(
    edge: Edge,
    crowd: People,
    agent: FakeAgent,
    who: str | None,
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    body = Counted(10_000)
    token = getattr(crowd, who) if who else None
    try:
        found, problem, _ = await post(edge, crowd, body, token=token, **query)
    except aiohttp.ClientError:
        pytest.fail("the answer was lost to the broken upload")
    assert (found, problem["code"]) == (status, code)
    assert body.taken < 500  # what the buffers of two sockets hold, of 10,000
    assert agent.uploads == {}


async def test_the_session_needs_its_csrf_token_here_as_well(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    cookie = await sync_to_async(_session_of_owner)(crowd)
    headers = {**TAR, "Cookie": cookie}
    status, body, _ = await post(edge, crowd, ARCHIVE, token=None, headers=headers)
    assert (status, body["code"]) == (403, "CSRF_FAILED")
    csrf = "c" * 32
    headers = {**TAR, "Cookie": f"{cookie}; slipway-csrf={csrf}", "X-CSRFToken": csrf}
    status, body, _ = await post(edge, crowd, ARCHIVE, token=None, headers=headers)
    assert status == 202, body


def _session_of_owner(people: People) -> str:
    from django.test import Client

    from slipway.accounts.models import User

    client = Client()
    client.force_login(User.objects.get(memberships__team=people.project.team, memberships__role="owner"))
    return f"slipway-session={client.cookies['slipway-session'].value}"


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"{}", {"Content-Type": "application/json"}, 415, "MEDIA_TYPE_UNSUPPORTED"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "BODY_MALFORMED"),
        (b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "BODY_MALFORMED"),
        (
            b'--b\r\nContent-Disposition: form-data; name="archive"\r\n\r\nhalf of i',
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            "BODY_MALFORMED",
        ),
        (
            b"\r\n".join(
                [
                    b'--b\r\nContent-Disposition: form-data; name="nam"\r\n\r\nx',
                    b'--b\r\nContent-Disposition: form-data; name="archive"\r\n\r\nx\r\n--b--\r\n',
                ]
            ),
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            "VALIDATION_FAILED",
        ),
        (b"", TAR, 400, "ARCHIVE_INVALID"),
    ],
)
async def test_a_body_that_is_no_archive_is_named(
    edge: Edge,
    crowd: People,
    agent: FakeAgent,
    data: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    found, body, _ = await post(edge, crowd, data, headers=headers)
    assert (found, body["code"]) == (status, code), body
    assert await Job.objects.acount() == 0


async def test_a_node_without_space_says_so(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    agent.refuse = 507, "NO_SPACE"
    status, body, _ = await post(edge, crowd, ARCHIVE)
    assert (status, body["code"], body["facts"]) == (507, "NO_SPACE", {"free": 1})
    assert await Job.objects.acount() == 0


async def test_an_upload_that_breaks_off_makes_nothing(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    head = (
        f"POST {crowd.path}/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n"
        f"Authorization: Bearer {crowd.owner}\r\nContent-Length: 1000000\r\n\r\n"
    )
    writer.write(head.encode() + b"x" * 1000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with edge.get(f"{crowd.path}/jobs", crowd.owner) as answer:
        assert (await answer.json())["items"] == []
    assert agent.uploads == {}


async def test_neither_memory_nor_disk_holds_the_archive(
    edge: Edge, crowd: People, agent: FakeAgent, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Django's spool would leave memory at the second byte, and find no place on disk.
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")

    def growth(before: int) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    await post(edge, crowd, Counted(50))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 400 << 20
    status, _, _ = await post(edge, crowd, Counted(size >> 16))
    assert status == 202
    assert size in agent.uploads.values()
    assert growth(before) < 40 << 10  # KiB; sender, server and receiver share this process


async def test_an_archive_over_the_quota_is_refused_before_it_flows(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    await sync_to_async(_limit_disk)(crowd, 100_000)
    headers = {**TAR, "Content-Length": str(200_000)}
    body = Counted(3)
    status, problem, _ = await post(edge, crowd, body, headers=headers)
    assert (status, problem["code"], problem["facts"]["limit"]) == (403, "QUOTA_EXCEEDED", 100_000)
    assert agent.uploads == {}
    assert agent.dropped == []  # it never got there


async def test_an_archive_that_turns_out_too_large_is_not_kept(
    edge: Edge, crowd: People, agent: FakeAgent
) -> None:
    await sync_to_async(_limit_disk)(crowd, 100_000)
    status, problem, _ = await post(edge, crowd, Counted(3))  # in chunks: nobody says how many
    assert (status, problem["code"]) == (403, "QUOTA_EXCEEDED")
    assert agent.uploads == {}
    assert await Job.objects.acount() == 0


async def test_bytes_that_another_import_waits_for_stay(edge: Edge, crowd: People, agent: FakeAgent) -> None:
    await sync_to_async(_limit_disk)(crowd, 3 * len(ARCHIVE) // 2)

    async def pieces() -> AsyncIterator[bytes]:
        yield ARCHIVE

    assert (await post(edge, crowd, ARCHIVE))[0] == 202
    assert (await post(edge, crowd, pieces()))[0] == 403
    assert agent.uploads == {DIGEST: len(ARCHIVE)}


def _limit_disk(people: People, limit: int) -> None:
    set_limit(Actor(user=make_user(is_staff=True)), people.project, Resource.DISK, limit)
