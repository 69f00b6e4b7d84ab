"""Sees every container's end, whoever started it and whatever was killed meanwhile.

conmon writes an exit file (inotify), and the container's first process ends (a pidfd). The second is for the
case that conmon itself was killed: nobody writes the file then. An exit that happened while no agent was
there is found by ``recover`` at the start.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from workers import crash
from workers.agent import inotify
from workers.agent.containers import Containers
from workers.agent.inotify import Inotify
from workers.engine.runtime.process import Process, open_process
from workers.errors import NoSuchContainer

_ID = re.compile(r"[0-9a-f]{64}")
GRACE = 0.25
"""Seconds conmon has for its exit file once the container's first process has ended."""
PAUSE, LONGEST_PAUSE = 0.05, 30.0
"""Between attempts to settle a container that cannot be settled yet."""

_T = TypeVar("_T")
log = structlog.get_logger(__name__)


class Supervisor:
    """Made in the event loop it belongs to; settles in a few threads of its own."""

    def __init__(self, containers: Containers, exits: Path, *, threads: int = 4) -> None:
        self._containers, self._exits = containers, exits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="settle")
        self._watched: dict[str, tuple[Process, int]] = {}
        self._settling: dict[str, asyncio.Task[None]] = {}
        self._asked_again: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._inotify = Inotify()
        self._is_recovered = False

    @property
    def running(self) -> int:
        """How many containers run, as far as we know."""
        return len(self._watched)

    async def start(self) -> None:
        """Find out what happened while nobody watched, then watch."""
        self._inotify.add(self._exits, inotify.MOVED_TO | inotify.CLOSE_WRITE)
        self._loop.add_reader(self._inotify.fileno(), self._on_exit_files)
        await self.look_around()

    async def stop(self) -> None:
        """Containers go on; the next agent finds what we did not settle."""
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()
        for container in list(self._watched):
            self._unwatch(container)
        for task in list(self._settling.values()):
            task.cancel()
        await asyncio.gather(*self._settling.values(), return_exceptions=True)
        # What runs in a thread is let end: an outcome on record without its clean-up is only a delay.
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def look_around(self) -> None:
        """Watch what runs and settle what has ended, should a notice have been lost."""
        if not self._is_recovered:
            await self._recover()
        for container, init in (await self._run(self._containers.running)).items():
            self._watch(container, init)
        self._scan_exit_files()

    async def _recover(self) -> None:
        """One container that cannot be recovered must not keep the agent from the others."""
        try:
            await self._run(self._containers.recover)
            self._is_recovered = True
        except Exception:
            log.exception("recovery_failed")

    def watch(self, container: str) -> None:
        """It was started, by whatever process."""
        init = self._containers.init(container)
        if init is not None:
            self._watch(container, init)

    def _watch(self, container: str, init: Process) -> None:
        if self._watched.get(container, (None,))[0] == init:
            return
        self._unwatch(container)
        fd = open_process(init)
        if fd is None:
            self._settle_if_gone(container, init)
            return
        self._watched[container] = (init, fd)
        self._loop.add_reader(fd, self._on_gone, container)

    def _unwatch(self, container: str) -> Process | None:
        init, fd = self._watched.pop(container, (None, -1))
        if init is not None:
            self._loop.remove_reader(fd)
            os.close(fd)
        return init

    def _on_gone(self, container: str) -> None:
        init = self._unwatch(container)
        if init is not None:
            self._settle_if_gone(container, init)

    def _settle_if_gone(self, container: str, init: Process) -> None:
        def check() -> None:
            if self._containers.init(container) == init:
                self._settle_soon(container)

        self._loop.call_later(GRACE, check)

    def _on_exit_files(self) -> None:
        for change in self._inotify.read():
            if change.mask & inotify.OVERFLOW:
                self._scan_exit_files()
            elif _ID.fullmatch(change.name):
                self._settle_soon(change.name)

    def _scan_exit_files(self) -> None:
        for name in os.listdir(self._exits):
            if _ID.fullmatch(name):
                self._settle_soon(name)

    def _settle_soon(self, container: str) -> None:
        self._asked_again.add(container)
        if container not in self._settling:
            self._settling[container] = self._loop.create_task(self._settle(container))

    async def _settle(self, container: str) -> None:
        pause = PAUSE
        try:
            while container in self._asked_again:
                self._asked_again.discard(container)
                if await self._settled(container):
                    self._unwatch_ended(container)
                    continue
                if (init := self._containers.init(container)) is not None and self._is_going_on(
                    container, init
                ):
                    continue
                self._asked_again.add(container)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self._asked_again.discard(container)
            del self._settling[container]

    async def _settled(self, container: str) -> bool:
        crash.point("agent.before_settle")
        try:
            return await self._run(lambda: self._containers.settle(container))
        except NoSuchContainer:
            (self._exits / container).unlink(missing_ok=True)  # of a container nobody has a record of
            return True
        except Exception:
            log.exception("settling_failed", container=container)
            return False

    def _unwatch_ended(self, container: str) -> None:
        """Not if it was started again meanwhile."""
        watched = self._watched.get(container)
        if watched is not None and self._containers.init(container) != watched[0]:
            self._unwatch(container)

    def _is_going_on(self, container: str, init: Process) -> bool:
        """It has not ended after all: a run was started after the one whose end we heard of."""
        if (self._exits / container).exists():
            return False
        self._watch(container, init)
        return container in self._watched

    async def _run(self, function: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(self._pool, function)
