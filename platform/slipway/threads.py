"""Giving back what Django lends a request, before it waits for long (a log to follow, an exit to come)."""

from __future__ import annotations

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections


async def give_back() -> None:
    """Close this request's database connections and end its thread.

    Under ASGI each request runs its synchronous parts (middleware, signals, queries) in a thread of its own,
    which stays, with its connection, until the answer is complete. Three hundred open waits would be three
    hundred idle threads. Whatever synchronous comes later gets a new thread.
    """
    await sync_to_async(connections.close_all)()
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = SyncToAsync.context_to_thread_executor.pop(context, None) if context else None
    if executor is not None:
        executor.shutdown(wait=False)
