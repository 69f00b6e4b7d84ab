"""The worker's Celery app: one queue of this node, one task, JSON only, no remote control.

A command is acknowledged after it was carried out. A worker that dies leaves its commands unacknowledged
in Redis; the next one takes them back when it connects (there is one worker per node), so nobody waits for
the visibility timeout, which can then be long enough never to start a command twice by itself.
"""

from __future__ import annotations

import os
import warnings
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery, bootsteps, signals
from celery.exceptions import SecurityWarning
from celery.worker.consumer import Consumer
from celery.worker.consumer.connection import Connection
from celery.worker.consumer.tasks import Tasks
from kombu import Exchange, Queue

from workers import logformat
from workers.node import Environment, read_environment

VISIBILITY_TIMEOUT = 3600
"""Seconds. Far above the longest command: a stop, which waits for the container's own timeout."""

STARTS, STOPS = 4, 12
"""Threads for what works and for what waits. Four starts at once keep both cores of a small node busy; a stop
only waits for its container."""


def queue_name(node: str) -> str:
    return f"node.{node}"


def key_prefix(instance: str) -> str:
    """Before every key Celery has in Redis; the platform's ``dispatch`` sends with the same."""
    return f"{instance}:celery:"


def broker_url(redis_url: str) -> str:
    """redis-py's ``unix://`` in the words of Celery; anything else as it is."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


class TakeBack(bootsteps.StartStopStep):
    """At every connection: put back into the queue what was received and never acknowledged."""

    requires = (Connection,)

    def start(self, consumer: Any) -> None:
        channel = consumer.connection.default_channel
        with channel.conn_or_acquire() as client:
            tags = client.zrange(channel.unacked_index_key, 0, -1)
        for tag in reversed(tags):  # the newest first: each goes before what is in the queue
            channel.qos.restore_by_tag(tag.decode())


class Receive(Tasks):
    """Celery's own, without what it requires: mingling with other workers."""

    requires = (TakeBack,)


class NodeConsumer(Consumer):
    """Takes tasks and nothing else: gossip, mingle, events, heartbeats and remote control are not there."""

    event_dispatcher = None

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]  # the stubs know it as a variable
        default_steps = (
            "celery.worker.consumer.connection:Connection",
            "workers.app:TakeBack",
            "workers.app:Receive",
            "celery.worker.consumer.consumer:Evloop",
        )


def transport_options(environment: Environment) -> dict[str, Any]:
    queue = queue_name(environment.name)
    return {
        "global_keyprefix": key_prefix(environment.instance),
        # Of this node alone: what is unacknowledged here is ours to take back.
        "unacked_key": f"unacked.{queue}",
        "unacked_index_key": f"unacked.index.{queue}",
        "unacked_mutex_key": f"unacked.mutex.{queue}",
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_keepalive": not environment.redis_url.startswith("unix:"),
        "health_check_interval": 25,
    }


def build_app(environment: Environment) -> Celery:
    """Nothing is connected or opened yet."""
    queue = queue_name(environment.name)
    # No fix-ups: Celery would set Django up wherever the environment names its settings.
    app = Celery("slipway", fixups=[])
    app.conf.update(
        broker_url=broker_url(environment.redis_url),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport_options(environment),
        # The default exchange routes by queue name: no binding in Redis that could be emptied away.
        task_queues=[Queue(queue, Exchange(""), routing_key=queue)],
        task_default_queue=queue,
        task_default_exchange="",
        task_default_routing_key=queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_pool="threads",
        worker_concurrency=STARTS + STOPS,
        worker_prefetch_multiplier=1,
        worker_consumer="workers.app:NodeConsumer",
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        include=["workers.tasks"],
    )
    return app


# Celery warns of running as root: what a worker of a node does needs it, and pickle is not accepted.
warnings.simplefilter("ignore", SecurityWarning)
environment = read_environment(os.environ)
app = build_app(environment)


@signals.setup_logging.connect
def _log(**_: Any) -> None:
    logformat.configure(environment.log)
