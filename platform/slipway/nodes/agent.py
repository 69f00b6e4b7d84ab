"""Sideways: the HTTP of a node's agent over its unix socket (docs/architecture.md, 4).

Bytes flow with back-pressure and never through the database. An error of the agent is raised as the type
its code names; an agent that does not answer is ``NodeUnreachable``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from asgiref.sync import async_to_sync
from django.conf import settings

from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.models import Node
from workers import errors

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0
"""A followed log is never silent for longer: the agent sends an empty line every 15 s."""
ARCHIVE_SILENCE_SECONDS = 300.0
"""A large layer is read and hashed before its first byte leaves."""
LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Usage:
    cpu_ns: int
    memory_bytes: int
    memory_limit: int
    pids: int


@dataclass(frozen=True)
class Upload:
    digest: str
    size: int


@dataclass(frozen=True)
class LogEntry:
    position: int
    next: int
    time: str
    stream: str
    text: str
    whole: bool


async def health(node: Node) -> dict[str, Any]:
    return await _json("GET", node, "/v1/health")


async def usage(node: Node, container: str) -> Usage:
    """Raise ``NoSuchContainer``, ``NotRunning``, ``NodeUnreachable``."""
    body = await _json("GET", node, f"/v1/containers/{container}/usage")
    return Usage(**{name: int(body[name] or 0) for name in Usage.__dataclass_fields__})


async def kill(node: Node, container: str, signal: str) -> None:
    """Raise ``NoSuchContainer``, ``NotRunning``, ``NodeUnreachable``."""
    await _json("POST", node, f"/v1/containers/{container}/kill", json={"signal": signal})


async def upload(node: Node, chunks: AsyncIterator[bytes]) -> Upload:
    """Hand an archive over as it comes in. Raise ``NoSpace``, ``NodeUnreachable`` …"""
    # However long the sender takes; it is he who is watched for silence (slipway.bodies).
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
    body = await _json("PUT", node, "/v1/uploads", data=chunks, timeout=timeout)
    return Upload(str(body["digest"]), int(body["size"]))


async def read_upload(node: Node, digest: str) -> AsyncIterator[bytes]:
    """What lies on the node under ``digest``. Raise ``NoSuchBlob``, ``NodeUnreachable``."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=ARCHIVE_SILENCE_SECONDS)
    async with _request("GET", node, f"/v1/uploads/{digest}", timeout=timeout) as answer:
        async for piece in answer.content.iter_any():
            yield piece


async def keep_upload(node: Node, digest: str) -> int:
    """The upload is there for one more use; its size. Raise ``NoSuchBlob`` when it is gone."""
    body = await _json("POST", node, f"/v1/uploads/{digest}")
    return int(body["size"])


async def propose_context(node: Node, scope: str, manifest: AsyncIterator[bytes]) -> dict[str, Any]:
    """``context``, ``missing`` …, as the node says. Raise ``ContextInvalid``, ``NoSpace`` …"""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
    path = f"/v1/contexts/{scope}"
    body: dict[str, Any] = await _json("POST", node, path, data=manifest, timeout=timeout)
    return body


async def fill_context(node: Node, scope: str, context: str, contents: AsyncIterator[bytes]) -> int:
    """How many contents were taken. Raise ``ContextInvalid``, ``ContextIncomplete``, ``NoSpace`` …"""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
    path = f"/v1/contexts/{scope}/{context}"
    return int((await _json("PUT", node, path, data=contents, timeout=timeout))["taken"])


async def assemble_context(node: Node, scope: str, context: str) -> Upload:
    """The context as an upload. Raise ``ContextIncomplete``, ``NoSpace`` …"""
    timeout = aiohttp.ClientTimeout(total=600.0, connect=CONNECT_SECONDS)
    body = await _json("POST", node, f"/v1/contexts/{scope}/{context}/archive", timeout=timeout)
    return Upload(str(body["digest"]), int(body["size"]))


async def drop_upload(node: Node, digest: str) -> None:
    await _json("DELETE", node, f"/v1/uploads/{digest}")


async def archive(
    node: Node, scope: str, image_id: str, form: str, names: Sequence[str]
) -> AsyncIterator[bytes]:
    """An image as a tar (``docker`` or ``oci``), as it is written there. Raise ``NoSuchImage`` …

    One that breaks off half-way raises ``NodeUnreachable``: it ends nowhere as if it were whole.
    """
    query = [("format", form), *(("name", name) for name in names)]
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=ARCHIVE_SILENCE_SECONDS)
    path = f"/v1/images/{scope}/{image_id}/archive"
    async with _request("GET", node, path, params=query, timeout=timeout) as answer:
        async for piece in answer.content.iter_any():
            yield piece


def kill_now(node: Node, container: str, signal: str) -> None:
    """``kill`` for callers that are not asynchronous."""
    async_to_sync(_kill_once)(node, container, signal)


async def _kill_once(node: Node, container: str, signal: str) -> None:
    # With a session of its own: such a caller's loop may end with the call.
    async with _new_session() as session:
        path = f"/v1/containers/{container}/kill"
        await _json("POST", node, path, session=session, json={"signal": signal})


async def doctor(node: Node) -> Any:
    """The lines of ``doctor`` that need root on the node."""
    return await _json("GET", node, "/v1/doctor")


async def log_lines(
    node: Node,
    path: str,
    *,
    position: int | None = None,
    tail: int | None = None,
    follow: bool = False,
) -> AsyncIterator[bytes]:
    """The log at ``path`` of the agent as lines of NDJSON, each with its newline; with ``follow`` until
    nobody writes it any more.

    Empty lines (the agent's sign of life) are passed on. Raise ``NoSuchContainer``, ``NoSuchLog``,
    ``NodeUnreachable``.
    """
    query = {"follow": "1" if follow else "0"}
    if position is not None:
        query["position"] = str(position)
    if tail is not None:
        query["tail"] = str(tail)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    async with _request("GET", node, path, params=query, timeout=timeout) as answer:
        async for line in answer.content:
            yield line


async def log_entries(
    node: Node,
    path: str,
    *,
    position: int | None = None,
    tail: int | None = None,
    follow: bool = False,
) -> AsyncIterator[LogEntry]:
    """``log_lines``, parsed."""
    async for line in log_lines(node, path, position=position, tail=tail, follow=follow):
        if line.strip():
            yield parse_entry(line)


def parse_entry(line: bytes) -> LogEntry:
    body = json.loads(line)
    return LogEntry(body["p"], body["n"], body["t"], body["s"], body["l"], body["f"])


# --------------------------------------------------------------------------- the connection

_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]
_sessions = weakref.WeakKeyDictionary()


def _session() -> aiohttp.ClientSession:
    """One per event loop, made on first use; only loops that live as long as the process keep it."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None or session.closed:
        session = _sessions[loop] = _new_session()
    return session


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        "http://agent",
        connector=aiohttp.UnixConnector(path=str(settings.SLIPWAY_AGENT_SOCKET), limit=0),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=CONNECT_SECONDS),
        read_bufsize=LINE_BYTES,
    )


async def close() -> None:
    """Close this loop's connections."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


@contextlib.asynccontextmanager
async def _request(
    method: str, node: Node, path: str, *, session: aiohttp.ClientSession | None = None, **options: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        async with (session or _session()).request(method, path, **options) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            yield answer
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise NodeUnreachable(
            f"The agent of node {node.name!r} does not answer; is it running? "
            f"({str(error) or type(error).__name__})",
            node=node.name,
        ) from error


async def _json(method: str, node: Node, path: str, **options: Any) -> Any:
    async with _request(method, node, path, **options) as answer:
        return None if answer.status == 204 else await answer.json()


async def _error(answer: aiohttp.ClientResponse) -> errors.SlipwayError:
    try:
        body = await answer.json()
        code, message, facts = body["code"], str(body["message"]), dict(body.get("facts") or {})
    except (ValueError, KeyError, TypeError, aiohttp.ClientError):
        return errors.NodeError(f"The node's agent answered {answer.status} without saying why.")
    return errors_by_code().get(code, errors.NodeError)(message, **facts)


def errors_by_code() -> dict[str, type[errors.SlipwayError]]:
    """Every error a node can name."""
    found: dict[str, type[errors.SlipwayError]] = {}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.SlipwayError):
            found[value.code] = value
    return found
