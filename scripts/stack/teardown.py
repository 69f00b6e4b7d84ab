"""Stop the containers of an instance whose processes are stopped.

Speaks to the engine directly. Data stays: how each container ended is in the node's journal, and the
platform learns of it at the next start.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

from workers.engine import containers
from workers.errors import SlipwayError
from workers.node import Node

GRACE_SECONDS = 10.0
AT_ONCE = 16


def stop_containers(node: Node) -> int:
    """Ask politely, kill after the grace time, record how each ended; returns how many ran."""
    containers.recover(node.engine, node.emit)
    running = [found.container for found in containers.running(node.engine)]
    deadline = time.monotonic() + GRACE_SECONDS
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda container: _stop(node, container, deadline), running))
    return len(running)


def _stop(node: Node, container: str, deadline: float) -> None:
    for number, seconds in ((signal.SIGTERM, deadline - time.monotonic()), (signal.SIGKILL, GRACE_SECONDS)):
        try:
            containers.kill(node.engine, container, number)
        except SlipwayError:
            break  # it has ended meanwhile
        if containers.wait(node.engine, container, max(0.0, seconds)):
            break
    containers.settle(node.engine, container, node.emit)
