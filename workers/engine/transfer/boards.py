"""How far a transfer is, layer by layer, for people to watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from workers.engine.transfer.connections import Client
from workers.errors import RegistryUnreachable
from workers.messages import LayerProgress

EVERY = 0.5
"""Seconds between two reports at least."""
_LOOK = 0.1
AT_ONCE = 3
"""Layers moved at the same time."""
T = TypeVar("T")
R = TypeVar("R")


class Watcher(Protocol):
    """Whoever wants to know. Each call may raise to end the transfer."""

    def check(self) -> None: ...

    def layers(self, layers: tuple[LayerProgress, ...]) -> None: ...

    def say(self, line: str, done: int, total: int) -> None:
        """``check``, and one short line for people."""


class Unwatched:
    def check(self) -> None: ...

    def layers(self, layers: tuple[LayerProgress, ...]) -> None: ...

    def say(self, line: str, done: int, total: int) -> None: ...


UNWATCHED = Unwatched()


class Board:
    """Written by any thread, shown by one."""

    def __init__(self, watcher: Watcher, line: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._watcher, self._line, self._clock = watcher, line, clock
        self._layers: list[LayerProgress] = []
        self._shown: tuple[LayerProgress, ...] = ()
        self._last = float("-inf")
        self._seen: tuple[LayerProgress, ...] = ()
        self._since = clock()

    def add(self, digest: str, total: int) -> int:
        """A further layer, waiting; its position."""
        self._layers.append(LayerProgress(digest, "waiting", 0, total))
        return len(self._layers) - 1

    def set(self, position: int, state: str, done: int | None = None) -> None:
        """``done`` None: all of it."""
        layer = self._layers[position]
        self._layers[position] = LayerProgress(
            layer.digest, state, layer.total if done is None else done, layer.total
        )

    def require_pace(self, seconds: float) -> None:
        """Raise ``RegistryUnreachable`` when layers are being downloaded and nothing came for ``seconds``."""
        layers = tuple(self._layers)
        moment = self._clock()
        if layers != self._seen or not any(layer.state == "downloading" for layer in layers):
            self._seen, self._since = layers, moment
        elif moment - self._since > seconds:
            raise RegistryUnreachable(f"The registry sent next to nothing for {seconds:.0f} seconds")

    def show(self, *, now: bool = False) -> None:
        """Tell the watcher, if there is something new and it is time (or ``now``)."""
        self._watcher.check()
        layers = tuple(self._layers)
        moment = self._clock()
        if layers == self._shown or (not now and moment - self._last < EVERY):
            return
        self._shown, self._last = layers, moment
        self._watcher.layers(layers)
        self._watcher.say(self._line, sum(each.done for each in layers), sum(each.total for each in layers))


def side_by_side(
    client: Client, board: Board, work: Callable[[T], R], items: Sequence[T], at_once: int = AT_ONCE
) -> list[R]:
    """``work`` done on all ``items``, a few at a time; what came of it, in their order.

    The first failure, or whatever the board's watcher raises, ends all and is raised.
    """
    pool = ThreadPoolExecutor(min(at_once, max(len(items), 1)), thread_name_prefix="transfer")
    futures = [pool.submit(work, item) for item in items]
    try:
        pending: set[Future[R]] = set(futures)
        while pending:
            done, pending = wait(pending, _LOOK, FIRST_COMPLETED)
            for future in done:
                future.result()
            board.show()
            board.require_pace(client.patience.crawl)
        return [future.result() for future in futures]
    except BaseException:
        client.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def apart(client: Client, board: Board, work: Callable[[], R]) -> R:
    """``work`` done where it can be ended at any moment."""
    return side_by_side(client, board, lambda _: work(), [None])[0]
