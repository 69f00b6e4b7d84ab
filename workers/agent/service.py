"""The agent of a node: its parts, started in order, kept going, and stopped without touching a container."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers import __version__
from workers.agent.containers import NodeContainers
from workers.agent.logwatch import LogWatch
from workers.agent.shipper import Shipper
from workers.agent.streams import Streams
from workers.agent.supervisor import Supervisor
from workers.agent.tail import Tail
from workers.engine import doctor, images, saving
from workers.engine.build import room
from workers.engine.runtime.process import boot_id
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Event,
    ImageRemoved,
    Inventory,
)
from workers.node import Node

HEARTBEAT_EVERY, HEARTBEAT_LIVES = 5.0, 15
INVENTORY_EVERY = 60.0
ROTATION_EVERY = 0.5
"""A container writes 200 MB/s to its log; between two looks it can take so much of the disk."""
HEALING_EVERY = 15.0
ABANDONED_EVERY = 2.0
SWEEP_EVERY = 3600.0
PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a part that failed is started again."""

log = structlog.get_logger(__name__)


class Agent:
    """Made in a running event loop. One per run directory."""

    def __init__(self, node: Node) -> None:
        self._node = node
        places = node.places
        self._containers = NodeContainers(node.engine, node.emit)
        self._supervisor = Supervisor(self._containers, places.exits)
        self._watch = LogWatch()
        self._tail = Tail(node.journal, places.journal_poke)
        self._redis = Redis.from_url(
            node.environment.redis_url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5
        )
        self._shipper = Shipper(self._redis, node.name, node.journal, self._tell_inventory_soon)
        self._inventory_due = asyncio.Event()
        self._sweep_due = asyncio.Event()
        self._ending: set[asyncio.Future[None]] = set()
        self._http = web.AppRunner(
            Streams(
                node=node.name,
                boot=boot_id(),
                containers=self._containers,
                uploads=node.uploads,
                contexts=node.contexts,
                watch=self._watch,
                job_log=places.job_log,
                save=partial(saving.save, node.engine.images),
                build_log=places.build_log,
                examine=lambda: doctor.examine(places, node.environment.instance),
            ).application(),
            access_log=None,
            shutdown_timeout=1.0,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``."""
        self._tail.subscribe(self._on_event)
        self._tail.on_growth(self._shipper.poke)
        self._tail.listen()
        tasks = [asyncio.create_task(self._keep_going("ship", self._shipper.ship))]
        try:
            await self._supervisor.start()
            tasks += [
                asyncio.create_task(self._keep_going(name, part)) for name, part in self._parts().items()
            ]
            await self._serve()
            log.info("agent_ready", node=self._node.name, running=self._supervisor.running)
            await stop.wait()
        finally:
            await self._stop(tasks)

    def _parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What goes on for ever once containers are watched."""
        networks = self._node.engine.networks
        return {
            "journal": self._tail.follow,
            "inventory": self._tell_inventories,
            "heartbeat": self._beat,
            "rotation": lambda: _every(ROTATION_EVERY, self._containers.rotate_logs),
            # Others flush rules and start firewalls while containers run.
            "healing": lambda: _every(HEALING_EVERY, networks.heal),
            "builds": lambda: _every(ABANDONED_EVERY, self._end_abandoned_builds),
            "sweep": self._sweep,
        }

    async def _serve(self) -> None:
        await self._http.setup()
        listening = listen(self._node.places.agent_socket, self._node.environment.group)
        await web.SockSite(self._http, listening).start()

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._http.cleanup()
        self._node.places.agent_socket.unlink(missing_ok=True)
        await self._supervisor.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tail.close()
        self._watch.close()
        await self._redis.connection_pool.disconnect()
        log.info("agent_stopped", node=self._node.name)

    async def _keep_going(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            try:
                await part()
            except Exception:
                log.exception("part_failed", part=name)
            pause = next_pause(pause, time.monotonic() - started)
            await asyncio.sleep(pause)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ContainerStarted):
            self._supervisor.watch(event.container)
        elif isinstance(event, ContainerExited | ContainerFailed | ContainerRemoved):
            self._end_follows(event.container)
        elif isinstance(event, ImageRemoved):
            self._sweep_due.set()

    def _end_follows(self, container: str) -> None:
        """Wake who follows its log, once the record says that it has ended."""
        directory = self._node.places.log_directory(container)
        if self._watch.is_awaited(directory):
            recorded = asyncio.ensure_future(asyncio.to_thread(self._containers.until_recorded, container))
            self._ending.add(recorded)
            recorded.add_done_callback(self._ending.discard)
            recorded.add_done_callback(lambda _: self._watch.ring(directory))

    def _tell_inventory_soon(self) -> None:
        self._inventory_due.set()

    async def _tell_inventories(self) -> None:
        """At the start, every minute, and when the platform must be told everything anew."""
        while True:
            self._inventory_due.clear()
            await asyncio.to_thread(
                self._node.journal.append_made, lambda: Inventory(self._containers.inventory())
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._inventory_due.wait(), INVENTORY_EVERY)
            await self._supervisor.look_around()

    async def _beat(self) -> None:
        key = f"slipway:heartbeat:{self._node.name}"
        while True:
            body = json.dumps(await asyncio.to_thread(self._vital_signs))
            # The shipper says so when Redis is away; this one only has to try again.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.set(key, body, ex=HEARTBEAT_LIVES)
            await asyncio.sleep(HEARTBEAT_EVERY)

    def _vital_signs(self) -> dict[str, object]:
        journal, places = self._node.journal, self._node.places
        held = sum(1 for _ in os.scandir(places.records))
        return {
            "at": time.time(),
            "epoch": journal.epoch,
            "last_seq": journal.last_seq,
            "version": __version__,
            "kernel": os.uname().release,
            "boot": boot_id(),
            "runtime": self._node.engine.runtime.name,
            "counts": {"containers": held, "running": self._supervisor.running},
            "slots": self._node.environment.build_slots,
        }

    def _end_abandoned_builds(self) -> None:
        """Where neither the worker nor the reaper of its build is left."""
        ended = room.end_abandoned(self._node.engine)
        if ended:
            log.warning("abandoned_builds_ended", builds=ended)

    async def _sweep(self) -> None:
        """At the start, every hour, and after an image was removed."""
        while True:
            self._sweep_due.clear()
            await asyncio.to_thread(self._node.uploads.sweep)
            await asyncio.to_thread(images.give_up_unused, self._node.engine.images, time.time())
            await asyncio.to_thread(self._node.contexts.sweep)
            await asyncio.to_thread(images.sweep, self._node.engine.images)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sweep_due.wait(), SWEEP_EVERY)


def next_pause(last: float, lasted: float) -> float:
    """Twice the ``last`` one, within bounds; for a part that ``lasted`` for long, the shortest."""
    return PAUSE if lasted > LONGEST_PAUSE else min(max(last * 2, PAUSE), LONGEST_PAUSE)


async def _every(seconds: float, work: Callable[[], object]) -> None:
    while True:
        await asyncio.to_thread(work)
        await asyncio.sleep(seconds)


def listen(path: Path, group: str) -> socket.socket:
    """A listening unix socket for root and ``group`` (or root's, where there is no such group)."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody connects before the owner is right
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    with contextlib.suppress(KeyError):
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
    path.chmod(0o660)
    listening.listen(1024)
    listening.setblocking(False)
    return listening
