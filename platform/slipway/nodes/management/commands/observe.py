"""``manage.py observe``: the observer's process."""

from __future__ import annotations

import signal
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand

from slipway import keys
from slipway.observer import Observer, connect

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Apply what nodes tell; send again what they did not answer. Runs until SIGTERM or SIGINT."
    # The checks import every view; this process needs none of them.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        keys.require()
        broker = connect(settings.SLIPWAY_REDIS_URL)
        observer = Observer(broker)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: observer.stop())
        log.info("observer_started")
        try:
            observer.run()
        finally:
            broker.close()
        log.info("observer_stopped")
