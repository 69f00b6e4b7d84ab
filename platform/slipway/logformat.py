"""Logging by structlog: one JSON object a line, or coloured text for people at a terminal."""

from __future__ import annotations

import logging.config
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured

_STAMP: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def logging_config(style: str, *, debug: bool) -> dict[str, Any]:
    """The ``LOGGING`` setting for ``style``: json or console."""
    renderers: dict[str, list[Any]] = {
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        # Plain: a prettier traceback would show local variables, among them keys and passwords.
        "console": [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)],
    }
    if style not in renderers:
        raise ImproperlyConfigured(f"SLIPWAY_LOG={style}: json or console is needed.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _STAMP,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *renderers[style],
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "slipway": {"level": "DEBUG" if debug else "INFO"},
            "uvicorn.access": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},  # a 404 is the caller's affair
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Django's hook: the standard library's logging and structlog write the same lines."""
    logging.config.dictConfig(config)
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
