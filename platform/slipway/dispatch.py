"""The only door down: one command to one node, sealed and signed, sent when the transaction commits."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from slipway import keys
from workers import crash, sealing
from workers.messages import Command, encode

if TYPE_CHECKING:
    from celery import Celery

    from slipway.nodes.models import Node

log = structlog.get_logger(__name__)

TASK = "workers.tasks.execute"


class Road(Protocol):
    """How a command travels; what ``settings.SLIPWAY_ROAD`` names."""

    def deliver(self, command: Command, node: Node) -> None:
        """Hand ``command`` over for ``node``. Raise ``OSError`` when the broker is away."""


def send(command: Command, node: Node) -> None:
    """Send ``command`` to ``node`` on commit. A broker that is away is logged: the sweep sends again."""
    transaction.on_commit(lambda: send_now(command, node))


def send_now(command: Command, node: Node) -> bool:
    """False when the broker is away."""
    crash.point("dispatch.before_send")
    try:
        road_at(settings.SLIPWAY_ROAD).deliver(command, node)
    except OSError as error:
        log.warning("command_not_sent", kind=type(command).__name__, node=node.name, error=str(error))
        return False
    crash.point("dispatch.after_send")
    return True


@lru_cache
def road_at(path: str) -> Road:
    """The one road of that dotted name in this process."""
    road: Road = import_string(path)()
    return road


class CeleryRoad:
    """Celery's queue ``node.<name>``; the platform has no tasks and waits for no result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Celery | None = None

    def deliver(self, command: Command, node: Node) -> None:
        envelope = sealing.seal(
            encode(command),
            node=node.name,
            node_public_key=sealing.parse_node_key(node.public_key),
            signing_key=_signing_key(),
        )
        # kombu's, for whatever the client library of the broker raises; imported as late as Celery itself.
        from kombu import Exchange, Queue
        from kombu.exceptions import OperationalError

        name = f"node.{node.name}"
        try:
            self._producer().send_task(
                TASK,
                args=[envelope],
                # The default exchange needs no binding kept in Redis: an emptied Redis does not stop it.
                queue=Queue(name, Exchange(""), routing_key=name),  # type: ignore[arg-type]  # stubs: names only
                declare=[],
                ignore_result=True,
                retry=False,
            )
        except OperationalError as error:
            raise ConnectionError(f"The broker does not answer: {error}") from error

    def _producer(self) -> Celery:
        with self._lock:
            if self._app is None:
                self._app = _make_producer()
            return self._app


def _make_producer() -> Celery:
    # Imported on first use: most processes and commands never send anything.
    from celery import Celery

    app = Celery("slipway", set_as_current=False)
    app.conf.update(producer_settings(settings.SLIPWAY_REDIS_URL, settings.SLIPWAY_INSTANCE))
    return app


def producer_settings(redis_url: str, instance: str) -> dict[str, Any]:
    """Celery's settings on this side; prefix and queue names as in docs/architecture.md, 3."""
    url = redis_url.replace("unix://", "redis+socket://", 1) if redis_url.startswith("unix:") else redis_url
    return {
        "broker_url": url,
        "broker_connection_timeout": 2,
        "broker_transport_options": {
            "global_keyprefix": f"{instance}:celery:",
            "max_retries": 0,  # the sweep is patient; a request is not
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
        },
        "broker_connection_retry": False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
    }


def _signing_key() -> Any:
    """The one that is there now: keys are rotated while we run."""
    file = keys.signing_key_file()
    status = file.stat() if file.exists() else None
    return _load_signing_key(file, (status.st_ino, status.st_mtime_ns) if status else None)


@lru_cache(maxsize=1)
def _load_signing_key(file: Path, _version: tuple[int, int] | None) -> Any:
    return sealing.load_signing_key(file)
