"""The ASGI application of ``/v2/`` and ``/auth/token``, in front of Django: no middleware touches its bytes.

It translates: what may be done, and what follows from it, ``repositories`` decides.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Self

import structlog
from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from slipway import requestlog
from slipway.audit import circumstances
from slipway.blobs.store import Reader
from slipway.bodies import ClientGone
from slipway.registry import blobs, listings, manifests, signing_in, uploads
from slipway.registry.answers import Answer, document
from slipway.registry.callers import identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.faults import SignInFirst, UnknownHost, Unsupported, answer_to
from slipway.repositories.errors import NoSuchRepository
from workers.errors import SlipwayError

Operation = Callable[[Call, Desk], Awaitable[Answer]]
PIECE = 1 << 20
LINGER_BYTES, LINGER_SECONDS = 64 << 20, 2.0
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def base(call: Call, desk: Desk) -> Answer:
    """GET /v2/: whether this is a registry, and whether the caller is signed in."""
    access = await desk.run(lambda: identify(call))
    if access.is_anonymous and not call.header(b"authorization"):
        raise SignInFirst
    return document(200, {})


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("base", "GET"): base,
    ("base", "HEAD"): base,
    ("token", "GET"): signing_in.by_header,
    ("token", "POST"): signing_in.by_form,
    ("catalog", "GET"): listings.catalog,
    ("tags", "GET"): listings.tags,
    ("referrers", "GET"): listings.referrers,
    ("manifest", "GET"): manifests.show,
    ("manifest", "HEAD"): manifests.show,
    ("manifest", "PUT"): manifests.put,
    ("manifest", "DELETE"): manifests.delete,
    ("blob", "GET"): blobs.show,
    ("blob", "HEAD"): blobs.show,
    ("blob", "DELETE"): blobs.delete,
    ("upload-start", "POST"): uploads.begin,
    ("upload", "GET"): uploads.status,
    ("upload", "PATCH"): uploads.append,
    ("upload", "PUT"): uploads.complete,
    ("upload", "DELETE"): uploads.cancel,
}


class Registry:
    """``application`` answers everything that is not the registry's."""

    def __init__(self, application: ASGI3Application, desk: Desk) -> None:
        self.application = application
        self.desk = desk

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path: str = scope.get("path", "")  # type: ignore[assignment]  # there is none in lifespan's scope
        if path != "/auth/token" and path != "/v2" and not path.startswith("/v2/"):
            await self.application(scope, receive, send)
            return
        call = Call.parse(scope, receive, send)
        given = call.header(b"x-request-id")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        began = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            circumstances.during(request_id, call.header(b"user-agent")),
        ):
            answer = await self._answer(call)
            answer.headers["X-Request-Id"] = request_id
            self._note(request_id, call, answer, time.perf_counter() - began)
            await _send(call, answer, self.desk)

    async def _answer(self, call: Call) -> Answer:
        operation = OPERATIONS.get((call.route, call.method))
        try:
            if not call.base:
                raise UnknownHost
            if not call.route or "\0" in call.path:
                raise NoSuchRepository(call.path)
            if operation is None:
                raise Unsupported(f"{call.method[:20]} is not done here.")
            return await operation(call, self.desk)
        except Exception as error:  # noqa: BLE001  # every failure is answered in the specification's words
            answer = answer_to(error, call, anonymous=await self._is_anonymous(call, error))
            if answer.status == 405:
                answer.headers["Allow"] = ", ".join(
                    method for route, method in OPERATIONS if route == call.route
                )
            return answer

    async def _is_anonymous(self, call: Call, error: Exception) -> bool:
        """Asked only where the answer depends on it."""
        if not isinstance(error, NoSuchRepository):
            return False
        try:
            return (await self.desk.run(lambda: identify(call))).is_anonymous
        except SlipwayError:
            return True

    def _note(self, request_id: str, call: Call, answer: Answer, seconds: float) -> None:
        route = f"registry:{call.route or 'unmatched'}"
        requestlog.measure(call.method, route, answer.status, seconds)
        requestlog.note(request_id, call.method, call.path, answer.status, seconds)


async def _send(call: Call, answer: Answer, desk: Desk) -> None:
    send: Any = call.send
    reader = answer.reader
    try:
        await send(answer.start())
        if reader is not None:
            await _send_blob(call, reader, answer.first, answer.first + answer.length, desk)
            return
        body = b"" if call.method == "HEAD" else answer.body
        if answer.leaves_body:
            # Who is still sending would not read an answer on a connection that was reset.
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _linger(call)
            body = b""
        await send({"type": "http.response.body", "body": body})
    finally:
        if reader is not None:
            reader.close()
        if answer.after is not None:
            answer.after()


async def _send_blob(call: Call, reader: Reader, position: int, end: int, desk: Desk) -> None:
    with Departure(call) as departure:
        while position < end:
            step = min(PIECE, end - position)
            file = reader.file_at_hand(position, step) if call.files is not None else None
            if file is not None and call.files is not None:
                # Handing what is in memory to a thread and back would take longer than sending it.
                sent = await call.files.send(file, position, step)
                await asyncio.sleep(0)  # others want their turn
            elif departure.watched():
                return
            else:
                data = await desk.work(reader.read, position, step)
                sent = len(data)
                await call.send({"type": "http.response.body", "body": data, "more_body": True})
            if not sent:
                raise ClientGone("The blob ended too soon.")
            position += sent
    await call.send({"type": "http.response.body", "body": b"", "more_body": False})


class Departure:
    """Notices that the client went while it is sent a body: the server would swallow all without a word."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._watch: asyncio.Task[None] | None = None

    def watched(self) -> bool:
        """Whether it has gone, once somebody asked."""
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._notice())
        return self._watch.done()

    async def _notice(self) -> None:
        while (await self._call.receive())["type"] != "http.disconnect":
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.cancel()


async def _linger(call: Call) -> None:
    """Read on for a while what nobody wants, so that the client gets to the answer."""
    seen = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while seen < LINGER_BYTES:
                message: Any = await call.receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return
