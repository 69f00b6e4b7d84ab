"""Giving back what Django lends a request, before it waits for long (a log to follow, an exit to come)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")


async def give_back() -> None:
    """Close this request's database connections and end its thread.

    Under ASGI each request runs its synchronous parts (middleware, signals, queries) in a thread of its own,
    which stays, with its connection, until the answer is complete. Three hundred open waits would be three
    hundred idle threads. Whatever synchronous comes later gets a new thread.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None or context not in SyncToAsync.context_to_thread_executor:
        return
    await sync_to_async(connections.close_all)()
    executor = SyncToAsync.context_to_thread_executor.pop(context, None)
    if executor is not None:
        executor.shutdown(wait=False)


async def in_pool(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function`` in a thread of the loop's small pool, which keeps no database connection afterwards.

    For looks at the database between long waits.
    """

    def call() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return await sync_to_async(call, thread_sensitive=False)()
