"""What every operation of the registry works with: the database's lanes, threads for bytes, the store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from slipway.blobs.store import BlobStore
from workers.oci.digest import Hasher

T = TypeVar("T")
THREADS = 12
KEPT_HASHES = 512


class Run(Protocol):
    """Calls a function where the database may be used; ``writes`` if it surely writes."""

    def __call__(self, function: Callable[[], T], /, *, writes: bool = False) -> Awaitable[T]: ...


class Hashes:
    """What uploads between two of their requests hash to so far; whoever is not here is hashed anew."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, str, Any]] = OrderedDict()

    def put(self, upload: str, offset: int, algorithm: str, state: Hasher) -> None:
        self._kept[upload] = (offset, algorithm, state)
        while len(self._kept) > KEPT_HASHES:
            self._kept.popitem(last=False)

    def take(self, upload: str, offset: int, algorithm: str) -> Hasher | None:
        """Whoever goes on with an upload takes the state along: two may not feed one."""
        kept = self._kept.pop(upload, None)
        return kept[2] if kept is not None and kept[:2] == (offset, algorithm) else None

    def drop(self, upload: str) -> None:
        self._kept.pop(upload, None)


@dataclass
class Desk:
    run: Run
    store: BlobStore
    count_pull: Callable[[Any], None]
    """Told of every manifest that was pulled: the id of its repository."""
    hashes: Hashes = field(default_factory=Hashes)
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="bytes")
    )

    async def work(self, function: Callable[..., T], *arguments: Any) -> T:
        """In a thread that has no database: for reading, writing and hashing."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)
