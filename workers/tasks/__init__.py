"""The one Celery task of a node: open the envelope, decode the command, have it carried out."""

from __future__ import annotations

import sys
import threading
from typing import Any

import structlog
from celery import Task, signals
from setproctitle import setproctitle

from workers.app import app, environment
from workers.errors import BadCommand, SlipwayError
from workers.node import open_node, take_lock
from workers.tasks.execution import Executor, Later

log = structlog.get_logger(__name__)
_executor: Executor | None = None
_opening = threading.Lock()


@app.task(name="workers.tasks.execute", bind=True, max_retries=None)
def execute(self: Task[..., None], envelope: str) -> None:
    """Safe to deliver any number of times. An envelope that is not for us is logged and dropped."""
    try:
        executor().execute(envelope)
    except BadCommand as error:
        log.warning("command_rejected", error=error.message, **error.facts)
    except Later as later:
        raise self.retry(countdown=later.seconds) from None


def executor() -> Executor:
    """This process's, with its node, opened on first use."""
    global _executor  # Celery gives its tasks no other place for what a process has once
    with _opening:
        if _executor is None:
            _executor = Executor.open(open_node(environment))
        return _executor


@signals.worker_init.connect
def _open(**_: Any) -> None:
    """Before the first task; what is missing ends the worker with a sentence, not with a traceback."""
    try:
        take_lock(environment.places.run / "worker.lock", "worker")
        executor()
    except SlipwayError as error:
        print(f"slipway worker: {error}", file=sys.stderr)
        raise SystemExit(1) from error


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    if _executor is not None:
        _executor.jobs.close(timeout=1.0)


@signals.worker_ready.connect
def _ready(**_: Any) -> None:
    setproctitle(f"slipway: workers.app {environment.name}")
