"""One line in the log for each request, whichever door it came through, and its measure.

These are by far the most lines: in JSON they look like all others, and are written without the many steps
that others take.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import structlog
from django.conf import settings

from slipway import metrics

_log = structlog.get_logger(__name__)
_KNOWN = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_text = json.encoder.encode_basestring_ascii


def measure(method: str, route: str, status: int, seconds: float) -> None:
    """``route`` is a route's name, never a path: labels are kept for ever."""
    metrics.REQUESTS.labels(method if method in _KNOWN else "other", route, str(status)).observe(seconds)


def note(request_id: str, method: str, path: str, status: int, seconds: float) -> None:
    if settings.SLIPWAY_LOG != "json":
        _log.info("request", method=method, path=path, status=status, seconds=round(seconds, 4))
    elif logging.getLogger(__name__).isEnabledFor(logging.INFO):
        stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        sys.stderr.write(
            f'{{"method": {_text(method)}, "path": {_text(path)}, "status": {status}, '
            f'"seconds": {seconds:.4f}, "event": "request", "request_id": {_text(request_id)}, '
            f'"level": "info", "logger": "{__name__}", "timestamp": "{stamp}"}}\n'
        )
