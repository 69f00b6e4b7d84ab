"""Where requests run their synchronous parts: a few lanes, each one thread with its database connection.

Django would give every request a thread, and with it a connection, until its answer is complete. Five
hundred open waits would be five hundred of both, and each short request would pay for starting, connecting
and joining. Lanes stay: who waits in an ``async`` view holds nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections, connection, connections, transaction

LANES = 8
"""More would not be faster under the interpreter's lock; fewer would wait for each other's commits."""

P = ParamSpec("P")
T = TypeVar("T")


class Lane(ThreadPoolExecutor):
    """One thread, one call at a time, in order; ``calls`` are those not yet done."""

    def __init__(self, number: int) -> None:
        super().__init__(max_workers=1, thread_name_prefix=f"lane-{number}")
        self.calls = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        future = super().submit(function, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        # From the lane's own thread; a count that is off by one for a moment only costs a good choice.
        self.calls -= 1


class Lanes:
    """Requests are spread over the lanes in turn, past those that are busy."""

    def __init__(self, count: int = LANES) -> None:
        self._lanes = [Lane(number) for number in range(count)]
        self._writer = self._lanes[0]
        self._together: list[tuple[Callable[[], Any], contextvars.Context, Future[Any]]] = []
        self._joining = threading.Lock()

    def choose(self) -> Lane:
        self._lanes.append(self._lanes.pop(0))
        return min(self._lanes, key=lambda lane: lane.calls)

    async def run(self, function: Callable[[], T], /, *, writes: bool = False, together: bool = False) -> T:
        """``function`` in a lane, for requests that are not Django's; with the caller's log context.

        Where the database has one writer at a time, those who write queue here: SQLite would let them look
        again and again, with longer and longer pauses, whether it is their turn. There ``together`` lets
        those that wait share one commit, which is a sync of the disk; ``function`` must be one transaction.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        one_writer = writes and connection.vendor == "sqlite"
        if one_writer and together:
            done: Future[Any] = Future()
            with self._joining:
                self._together.append((function, context, done))
                is_first = len(self._together) == 1
            if is_first:
                loop.run_in_executor(self._writer, self._write_together)
            return cast(T, await asyncio.wrap_future(done))
        lane = self._writer if one_writer else self.choose()
        return await loop.run_in_executor(lane, lambda: context.run(_with_live_connection, function))

    def _write_together(self) -> None:
        """All that wait, in one transaction; nobody hears of it before the commit."""
        with self._joining:
            waiting, self._together = self._together, []
        outcomes: list[Any] = []
        try:
            close_old_connections()
            with transaction.atomic():
                for function, context, _ in waiting:
                    outcomes.append(context.run(_outcome, function))
        except BaseException as error:  # noqa: BLE001  # each of those who wait is told
            outcomes = [(None, error)] * len(waiting)
        for (_, _, done), (result, failure) in zip(waiting, outcomes, strict=True):
            if failure is not None:
                done.set_exception(failure)
            else:
                done.set_result(result)

    async def disconnect(self) -> None:
        """Close the database connections; the next call in a lane opens another one."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(lane, connections.close_all) for lane in self._lanes))


def _outcome(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001  # its own transaction was rolled back, that of the others goes on
        return None, error


def _with_live_connection(function: Callable[[], T]) -> T:
    close_old_connections()
    return function()


class Handler(ASGIHandler):
    """Django's, on lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with ThreadSensitiveContext(executor=self.lanes.choose()):
            await self.handle(scope, receive, send)


async def look(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function`` in the request's lane; for looks at the database after long waits.

    The connection may have died meanwhile, and only between requests does Django replace it.
    """

    def call() -> T:
        close_old_connections()
        return function(*args, **kwargs)

    return await sync_to_async(call)()
