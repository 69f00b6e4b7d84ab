"""The cache in which attempts are counted: Redis, and this process's own memory while Redis is away.

Who signs in needs no Redis otherwise: sessions are rows. So nobody is locked out while it is away, and nobody
may guess more often than each process allows.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis import RedisError

AGAIN = 5.0
"""Seconds without a look at a Redis that did not answer: each would cost a request its patience."""

log = structlog.get_logger(__name__)


class CountingCache(RedisCache):
    """``RedisCache`` that does without Redis; what was counted here meanwhile is not told to it later."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._here = LocMemCache(f"counting:{server}", {"KEY_PREFIX": params.get("KEY_PREFIX", "")})
        self._away_until = 0.0

    def get(self, *args: Any, **options: Any) -> Any:
        return self._ask("get", *args, **options)

    def set(self, *args: Any, **options: Any) -> Any:
        return self._ask("set", *args, **options)

    def add(self, *args: Any, **options: Any) -> Any:
        return self._ask("add", *args, **options)

    def delete(self, *args: Any, **options: Any) -> Any:
        return self._ask("delete", *args, **options)

    def incr(self, *args: Any, **options: Any) -> Any:
        return self._ask("incr", *args, **options)

    def _ask(self, method: str, *args: Any, **options: Any) -> Any:
        if time.monotonic() >= self._away_until:
            try:
                return getattr(super(), method)(*args, **options)
            except RedisError as error:
                self._away_until = time.monotonic() + AGAIN
                log.warning("counting_without_redis", error=str(error))
        return getattr(self._here, method)(*args, **options)
