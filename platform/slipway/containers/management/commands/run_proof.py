"""``manage.py run_proof``: the main job once, through every part: a container, its log, its exit code."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError

from slipway.accounts.actors import OPERATOR, Actor
from slipway.accounts.models import User
from slipway.containers import services
from slipway.containers.logs import container_log
from slipway.containers.models import Container
from slipway.containers.requests import ContainerRequest
from slipway.hints import wait_for
from slipway.nodes import agent
from slipway.nodes.log_reading import LogRequest, read_log
from slipway.projects.services import ensure_project
from workers.errors import SlipwayError

SCRIPT = "echo Hello from a container of Slipway.; echo I am $(id -un) on $(hostname), process $$."


class Command(BaseCommand):
    help = "Run one container through the whole queue; print its log and the time it took."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--image", default="busybox")
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds")
        parser.add_argument("--keep", action="store_true", help="do not remove the container afterwards")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"], is_active=True).first()
        actor = Actor(user=user) if user else OPERATOR
        try:
            project = ensure_project(actor, options["username"], "playground")
            began = time.monotonic()
            container = services.create_container(
                actor,
                project,
                ContainerRequest(image=options["image"], command=("sh", "-c", SCRIPT), start=True),
            )
            log = async_to_sync(_finish)(container, options["timeout"])
            seconds = time.monotonic() - began
            container.refresh_from_db()
            if not options["keep"]:
                services.remove(actor, container, force=True)
        except SlipwayError as error:
            raise CommandError(f"{error.message} ({error.code})") from error
        self._report(container, log, seconds)

    def _report(self, container: Container, log: str, seconds: float) -> None:
        self.stdout.write(f"Container {container.name} ({container.short_id}) of {container.image_name}:")
        for line in log.splitlines():
            self.stdout.write(f"  {line}")
        if container.exit_code != 0:
            cause = (container.cause or {}).get("message", "")
            raise CommandError(f"It ended as {container.state} ({container.exit_code}). {cause}".strip())
        self.stdout.write(f"exited (0) after {seconds * 1000:.0f} ms, from the request to the log read.")


async def _finish(container: Container, patience: float) -> str:
    async def ended() -> Container | None:
        row = await Container.objects.select_related("node").aget(pk=container.pk)
        return None if row.pending or row.is_alive else row

    row = await wait_for(ended, f"container.{container.id}", patience=patience, poll=0.5)
    if row is None:
        raise CommandError(
            f"Container {container.name} has not ended after {patience:.0f} s. Are worker, agent and "
            "observer running? `manage.py doctor` tells more."
        )
    if not row.run or row.started_at is None:
        return ""
    try:
        log = read_log(container_log(row), LogRequest())
        lines = [entry.text + "\n" * entry.whole async for entry in log]
    finally:
        await agent.close()
    return "".join(lines)
