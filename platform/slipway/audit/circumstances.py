"""What a request is known by besides its caller: bound by the middleware, read when an entry is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Circumstances:
    request_id: str = ""
    user_agent: str = ""


NOWHERE = Circumstances()
_current: ContextVar[Circumstances] = ContextVar("slipway_circumstances", default=NOWHERE)


def current() -> Circumstances:
    """Those of the request being answered; empty outside of one."""
    return _current.get()


@contextmanager
def during(request_id: str, user_agent: str) -> Iterator[None]:
    token = _current.set(Circumstances(request_id[:64], user_agent[:200]))
    try:
        yield
    finally:
        _current.reset(token)
