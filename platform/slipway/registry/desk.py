"""What every operation of the registry works with: lanes, threads for bytes, the store, open uploads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slipway.blobs.store import BlobStore
from slipway.registry.admissions import Admissions
from slipway.registry.calls import Run
from slipway.repositories.sessions import Sessions

T = TypeVar("T")
THREADS = 12


@dataclass
class Desk:
    run: Run
    store: BlobStore
    count_pull: Callable[[Any], None]
    """Told of every manifest that was pulled: the id of its repository."""
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="bytes")
    )
    sessions: Sessions = field(init=False)
    admissions: Admissions = field(init=False)

    def __post_init__(self) -> None:
        self.admissions = Admissions(self.run)
        self.sessions = Sessions(lambda upload: self.threads.submit(self.store.discard, upload))

    async def work(self, function: Callable[..., T], *arguments: Any) -> T:
        """In a thread that has no database: for reading, writing and hashing."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)

    async def look(self, function: Callable[..., T], *arguments: Any) -> T:
        """A look at a name in the store: at once where that takes microseconds, else as ``work``."""
        if self.store.is_near:
            return function(*arguments)
        return await self.work(function, *arguments)
