"""Logging of worker and agent: structlog and the standard library's loggers write the same lines."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from workers.errors import NodeError

_STAMP: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_RENDERERS: dict[str, list[Any]] = {
    "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
    # Plain: a prettier traceback would show local variables, among them keys and environments.
    "console": [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ],
}


def configure(style: str) -> None:
    """Log to stderr in ``style``: json or console. Safe to repeat. Raise ``NodeError`` on another style."""
    if style not in _RENDERERS:
        raise NodeError(f"SLIPWAY_LOG={style}: json or console is needed")
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_STAMP,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_RENDERERS[style]],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_STAMP,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
