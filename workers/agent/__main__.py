"""``python -m workers.agent``: the agent of this node, in the foreground, as root."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop
from setproctitle import setproctitle

from workers import logformat
from workers.agent.service import Agent
from workers.errors import SlipwayError
from workers.node import Node, open_node, read_environment, take_lock


def main() -> int:
    try:
        environment = read_environment(os.environ)
        logformat.configure(environment.log)
        take_lock(environment.places.run / "agent.lock", "agent")
        node = open_node(environment)
        setproctitle(f"slipway: workers.agent {node.name}")
        uvloop.run(serve(node))
        node.journal.close()
    except SlipwayError as error:
        print(f"slipway agent: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(node: Node) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Agent(node).run(stop)


if __name__ == "__main__":
    sys.exit(main())
