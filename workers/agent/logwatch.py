"""Wakes who follows a log: one inotify for all, and no cost for a log nobody waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from workers.agent import inotify
from workers.agent.inotify import Inotify

_MASK = inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO | inotify.DELETE_SELF | inotify.ONESHOT
_RETRY = 0.5
"""Seconds to look again for a log directory that is not there yet."""


class LogWatch:
    """Belongs to one event loop. Every watch ends with the change it reports, so a busy log rings once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._inotify = Inotify()
        self._loop.add_reader(self._inotify.fileno(), self._on_changes)
        self._watches: dict[Path, _Watch] = {}
        self._by_number: dict[int, _Watch] = {}

    def arm(self, directory: Path) -> asyncio.Future[None]:
        """A future that is done at the next change of ``directory``'s files, or at its ``ring``."""
        future: asyncio.Future[None] = self._loop.create_future()
        try:
            number = self._inotify.add(directory, _MASK)
        except FileNotFoundError:
            self._loop.call_later(_RETRY, _finish, future)
            return future
        watch = self._by_number.get(number)
        if watch is None:
            watch = self._by_number[number] = self._watches[directory] = _Watch(number, directory)
        watch.waiting.add(future)
        return future

    def disarm(self, directory: Path, future: asyncio.Future[None]) -> None:
        """Who armed does not wait any longer. Repeatable."""
        future.cancel()
        watch = self._watches.get(directory)
        if watch is not None:
            watch.waiting.discard(future)
            if not watch.waiting:
                self._drop(watch)

    def is_awaited(self, directory: Path) -> bool:
        return directory in self._watches

    def ring(self, directory: Path) -> None:
        """Wake everybody who waits for ``directory``: its container has ended."""
        watch = self._watches.get(directory)
        if watch is not None:
            self._drop(watch)
            watch.finish()

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()

    def _on_changes(self) -> None:
        for change in self._inotify.read():
            if change.mask & inotify.OVERFLOW:
                for directory in list(self._watches):
                    self.ring(directory)
            elif not change.mask & inotify.IGNORED and change.watch in self._by_number:
                watch = self._by_number[change.watch]
                self._forget(watch)  # the kernel has dropped it: it was for one change
                watch.finish()

    def _drop(self, watch: _Watch) -> None:
        self._inotify.remove(watch.number)
        self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        del self._by_number[watch.number]
        if self._watches.get(watch.directory) is watch:
            del self._watches[watch.directory]


@dataclass(eq=False)
class _Watch:
    number: int
    directory: Path
    waiting: set[asyncio.Future[None]] = field(default_factory=set)

    def finish(self) -> None:
        for future in self.waiting:
            _finish(future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
