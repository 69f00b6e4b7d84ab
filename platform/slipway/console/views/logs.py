"""A piece of a log as JSON: what the pane reads while the socket is down, and what came before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.builds import logs as builds
from slipway.builds.queries import get_build
from slipway.console.members import actor_of
from slipway.containers import logs as containers
from slipway.containers.queries import get_container
from slipway.jobs import logs as jobs
from slipway.jobs.queries import get_job
from slipway.nodes import agent
from slipway.nodes.agent import LogEntry
from slipway.nodes.errors import LogGone
from slipway.nodes.log_reading import Log, LogRequest, read_log
from slipway.projects.queries import get_project_by_path
from slipway.threads import look
from workers.errors import SlipwayError

LINES_MAX = 10_000
BEFORE_BYTES = 1 << 20
"""How far back one step of "earlier lines" reads."""
POSITION_MAX = 1 << 62

source = agent.log_entries


@require_safe
async def container_log(request: HttpRequest, container_id: str) -> JsonResponse:
    return await _answer(
        request, await look(_found, get_container, containers.container_log, request, container_id)
    )


@require_safe
async def job_log(request: HttpRequest, job_id: str) -> JsonResponse:
    return await _answer(request, await look(_found, get_job, jobs.job_log, request, job_id))


@require_safe
async def build_log(request: HttpRequest, team: str, slug: str, number: int) -> JsonResponse:
    return await _answer(request, await look(_found_build, request, team, slug, str(number)))


def _found_build(request: HttpRequest, team: str, slug: str, number: str) -> Log:
    actor = actor_of(request)
    try:
        return builds.build_log(get_build(actor, get_project_by_path(actor, team, slug), number))
    except NotFound as error:
        raise Http404(error.message) from error


def _found(
    get: Callable[[Actor, str], Any], make: Callable[[Any], Log], request: HttpRequest, key: str
) -> Log:
    try:
        return make(get(actor_of(request), key))
    except NotFound as error:
        raise Http404(error.message) from error


async def _answer(request: HttpRequest, log: Log) -> JsonResponse:
    """``?position=`` or ``?tail=`` reads on from there; ``?before=`` reads what ends there.

    Answers the frame of the socket: entries, next, end.
    """
    before = _number(request, "before")
    if before is None:
        asked = LogRequest(position=_number(request, "position"), tail=_number(request, "tail"))
    else:
        asked = LogRequest(position=max(0, before - BEFORE_BYTES))
    goes_on = await look(log.goes_on)  # asked first: what is read after the end is all there is
    try:
        found = read_log(log, asked, source)
        entries = await (take(found) if before is None else take_before(found, asked.position or 0, before))
    except LogGone:
        entries = []
    except SlipwayError as error:
        return JsonResponse({"code": error.code, "message": error.message}, status=503)
    return _frame(entries, asked.position or 0, ended=len(entries) < LINES_MAX and not goes_on)


async def take(found: AsyncIterator[LogEntry]) -> list[LogEntry]:
    """The first LINES_MAX."""
    taken: list[LogEntry] = []
    async with aclosing(found) as entries:  # type: ignore[type-var]  # an async generator in fact
        async for entry in entries:
            taken.append(entry)
            if len(taken) >= LINES_MAX:
                break
    return taken


async def take_before(found: AsyncIterator[LogEntry], start: int, before: int) -> list[LogEntry]:
    """Those that begin before ``before``, of what was read from ``start`` on, which may be in mid-line.

    What begins exactly there may be the rest of a line; the next step, from further up, reads it whole.
    """
    taken: list[LogEntry] = []
    async with aclosing(found) as entries:  # type: ignore[type-var]  # an async generator in fact
        async for entry in entries:
            if entry.position >= before:
                break
            if start == 0 or entry.position > start:
                taken.append(entry)
    return taken


def _frame(entries: list[LogEntry], position: int, *, ended: bool) -> JsonResponse:
    rows = [[each.position, each.time, each.stream, each.text, each.whole] for each in entries]
    following = entries[-1].next if entries else position
    response = JsonResponse({"entries": rows, "next": following, "end": ended})
    response["Cache-Control"] = "no-store"
    return response


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return min(int(text), POSITION_MAX) if text.isascii() and text.isdigit() and len(text) < 20 else None
