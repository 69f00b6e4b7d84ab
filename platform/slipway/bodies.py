"""Request bodies: JSON that says where it is broken, and large ones read as they come.

Django reads a request's whole body to disk before any view runs. For uploads that would mean gigabytes
written for callers who may not even be known. ``StreamedBodies`` keeps such a body with the connection: the
view decides first and reads then, at the pace of whoever takes the bytes. All other bodies are capped.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any, NoReturn, cast

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from slipway.errors import BodyTooLarge, MalformedBody, problem_of
from workers.errors import UserError

SCOPE_KEY = "slipway.body"
CAP = 4 << 20
CHUNK = 1 << 16
SILENCE_SECONDS = 60.0
"""A sender that is silent for longer has given up."""


class ClientGone(UserError):
    """The client closed the connection, or fell silent, before the body was complete."""

    code = "BODY_INCOMPLETE"


class JsonParser(BaseParser):
    """UTF-8 JSON without NaN, Infinity or a name given twice; names line and column of what is wrong."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedBody(f"Body: not UTF-8 at byte {error.start}.", byte=error.start) from error
        try:
            return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except json.JSONDecodeError as error:
            raise MalformedBody(
                f"Body: not JSON at line {error.lineno}, column {error.colno}: {error.msg}.",
                line=error.lineno,
                column=error.colno,
            ) from error
        except RecursionError as error:
            raise MalformedBody("Body: nested too deeply to be a request.") from error
        except ValueError as error:  # Python reads no integer of more than 4300 digits
            raise MalformedBody(f"Body: a number in it is too long: {error}.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"Body: {name} is no JSON value.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedBody(f"Body: the field {name!r} is given twice.", field=name)
        found[name] = value
    return found


class Body:
    """The body of one request, read once, chunk by chunk."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: ASGIReceiveCallable) -> None:
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        self.encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        length = headers.get(b"content-length", b"")
        self.length = int(length) if length.isdigit() else None
        self._receive = receive
        self._gone = asyncio.Event()
        self.complete = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raise ``ClientGone`` when the body breaks off."""
        while not self.complete:
            message = await self._next()
            if message["type"] == "http.disconnect":
                self._gone.set()
                raise ClientGone("Body: the connection closed before it was complete.")
            if message["type"] != "http.request":
                continue
            self.complete = not message.get("more_body", False)
            if data := message.get("body", b""):
                yield data

    async def _next(self) -> Any:
        try:
            return await asyncio.wait_for(self._receive(), SILENCE_SECONDS)
        except TimeoutError as error:
            message = f"Body: nothing came for {SILENCE_SECONDS:.0f} s; send it again."
            raise ClientGone(message) from error

    async def closed(self) -> None:
        """Return when the client was seen to go away before its body was complete."""
        await self._gone.wait()


class StreamedBodies:
    """ASGI middleware: leave bodies of ``routes`` unread (``body_of``), refuse other bodies above ``CAP``."""

    def __init__(self, application: ASGI3Application, routes: re.Pattern[str]) -> None:
        self.application = application
        self.routes = routes

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        http = cast(HTTPScope, scope)
        if http["method"] == "POST" and self.routes.fullmatch(http["path"]):
            await self._streamed(http, receive, send)
        else:
            await self._capped(http, receive, send)

    async def _streamed(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        body = Body(dict(scope["headers"]), receive)
        described = (b"content-length", b"content-type", b"content-encoding", b"transfer-encoding")
        # To Django this is a request without a body, so nothing in it waits for one.
        headers = [(name, value) for name, value in scope["headers"] if name not in described]
        first = True

        async def nothing_to_read() -> Any:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            await body.closed()
            return {"type": "http.disconnect"}

        async def send_and_close(message: Any) -> None:
            if message["type"] == "http.response.start" and not body.complete:
                # The rest of the body is still on its way and nobody will read it.
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        inner = cast(Scope, {**scope, "headers": headers, SCOPE_KEY: body})
        await self.application(inner, nothing_to_read, send_and_close)

    async def _capped(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > CAP:
            await _refuse(send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
            # Django reads a body before it answers; when one breaks off it cleans up and stays silent.
            return message if seen <= CAP else {"type": "http.disconnect"}

        await self.application(scope, counted, send)
        if seen > CAP:
            await _refuse(send)


async def _refuse(send: ASGISendCallable) -> None:
    error = BodyTooLarge(f"Body: at most {CAP >> 20} MiB are taken here; archives go to …/images.", limit=CAP)
    problem = problem_of(error)
    text = json.dumps(problem.document()).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send(cast(Any, {"type": "http.response.start", "status": problem.status, "headers": headers}))
    await send(cast(Any, {"type": "http.response.body", "body": text}))


def body_of(request: HttpRequest) -> Body:
    """The body of a request on one of the streamed routes."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    body = scope.get(SCOPE_KEY)
    if isinstance(body, Body):
        return body
    return _spooled(request)


def _spooled(request: HttpRequest) -> Body:
    """Where the server is not ours (Django's test client), the body lies with Django already."""

    async def receive() -> Any:
        data = request.read(CHUNK)
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    headers = {
        b"content-type": request.META.get("CONTENT_TYPE", "").encode("latin-1"),
        b"content-encoding": request.META.get("HTTP_CONTENT_ENCODING", "").encode("latin-1"),
        b"content-length": str(request.META.get("CONTENT_LENGTH", "")).encode("latin-1"),
    }
    return Body(headers, cast(ASGIReceiveCallable, receive))
