"""From an exception to the typed cause that people see."""

from __future__ import annotations

import secrets

import structlog

from workers.errors import SlipwayError
from workers.messages import Failure

log = structlog.get_logger(__name__)


def failure_of(error: Exception, *, doing: str) -> Failure:
    """A failure of ours as it is; any other is logged with its traceback under an id that the cause names."""
    if isinstance(error, SlipwayError):
        return Failure(error.code, error.message, error.facts)
    reference = secrets.token_hex(4)
    log.error("unexpected_error", doing=doing, error_id=reference, exc_info=error)
    return Failure(
        SlipwayError.code,
        f"The node failed unexpectedly; its worker's log says why under {reference}",
        {"error_id": reference},
    )
