"""The stage's server: says where it is on stdout, then obeys one JSON command a line on stdin.

``{"do": "write", "container": …, "lines": […]}``, ``{"do": "count", "container": …, "from": n, "to": m}``,
``{"do": "exit", "container": …, "code": n}``. ``{"do": "hang up"}`` breaks every WebSocket.
``{"do": "away"}`` and ``{"do": "back"}`` take the agent away and bring it back. Each is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from slipway.containers.models import Container, State
from slipway.hints import container_hints, send
from slipway.nodes.models import Node
from tests.fake_agent import FakeAgent
from tests.stacks import free_port
from tests.stage import seed


class Server(uvicorn.Server):
    """Tells when it has begun to listen."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Stage:
    def __init__(self, port: int) -> None:
        self.agent = FakeAgent(settings.SLIPWAY_AGENT_SOCKET)
        where = {"host": "127.0.0.1", "port": port}
        self.server = Server(
            uvicorn.Config("slipway.asgi:application", **where, log_level="warning", lifespan="off")
        )

    async def run(self, facts: dict[str, Any]) -> None:
        await self.agent.start()
        serving = asyncio.create_task(self.server.serve())
        beating = asyncio.create_task(self._beat())
        await self.server.listening.wait()
        for container, lines in facts.pop("logs").items():
            log = self.agent.log(container)
            log.ended = container != facts["containers"]["running"]
            await log.write(*lines)
        for build, lines in facts.pop("builds").items():
            for stream, line in lines:
                await self.agent.log(build).write(line, stream=stream)
        print(json.dumps(facts), flush=True)
        await self._obey()
        beating.cancel()
        self.server.should_exit = True
        await serving
        await self.agent.stop()

    async def _beat(self) -> None:
        """The node goes on living, as far as its row shows."""
        while True:
            await Node.objects.all().aupdate(heartbeat_at=timezone.now())
            await asyncio.sleep(5)

    async def _obey(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 24)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            await self._do(command)
            log = self.agent.logs.get(command.get("container", ""))
            print(json.dumps({"lines": len(log.lines) if log else 0}), flush=True)

    async def _do(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "write":
                await self.agent.log(command["container"]).write(*command["lines"])
            case "count":
                lines = [f"line {number}" for number in range(command["from"], command["to"])]
                await self.agent.log(command["container"]).write(*lines)
            case "exit":
                await self._exit(command["container"], command["code"])
            case "hang up":
                for connection in list(self.server.server_state.connections):
                    if "WebSocket" in type(connection).__name__:
                        connection.transport.abort()
            case "away":
                await self.agent.stop()
            case "back":
                await self.agent.start()

    async def _exit(self, container: str, code: int) -> None:
        """The process ends, then the observer learns of it."""
        await self.agent.log(container).end()
        row = await Container.objects.select_related("project").aget(pk=container)
        row.observed, row.exit_code, row.finished_at = State.EXITED, code, timezone.now()
        await sync_to_async(row.save)()
        await send(container_hints(row.id, row.project.hex, "state"))


def main(port: int) -> None:
    port = port or free_port()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    facts = seed.seed() | {"url": f"http://127.0.0.1:{port}"}
    asyncio.run(Stage(port).run(facts))
