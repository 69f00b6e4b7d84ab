"""What happens to every request, whichever door it takes: an id, a line in the log, a measure."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from slipway import errors, requestlog
from slipway.audit import circumstances

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
QUIET = frozenset({"healthz", "readyz", "metrics"})
"""Routes that machines ask all the time: measured, not logged."""

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def trace(get_response: Handler) -> Handler:
    """Bind ``request_id`` to the log's context and answer it as ``X-Request-Id``; measure the answer.

    A proxy in front may choose the id. A streaming answer counts until its headers.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        began = time.perf_counter()
        agent = request.headers.get("User-Agent", "")
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            circumstances.during(request_id, agent),
        ):
            # Nothing has a NUL in its name, and PostgreSQL refuses even to look for it.
            response = _nothing() if "\0" in request.path else await get_response(request)
            seconds = time.perf_counter() - began
            route = _route(request)
            method, status = request.method or "", response.status_code
            requestlog.measure(method, route, status, seconds)
            if route not in QUIET:
                requestlog.note(request_id, method, request.path, status, seconds)
        response.headers["X-Request-Id"] = request_id
        return response

    return middleware


def _nothing() -> HttpResponseBase:
    return errors.response(errors.Problem(404, "NOT_FOUND", "There is nothing of that name."))


def _route(request: HttpRequest) -> str:
    """The route's name, never its path: labels are kept for ever."""
    return (request.resolver_match.view_name if request.resolver_match else "") or "unmatched"
