"""What can be wrong with a wish about a job."""

from __future__ import annotations

from workers.errors import UserError


class JobEnded(UserError):
    """It has succeeded, failed or was cancelled; that cannot be changed any more."""

    code = "JOB_ENDED"


class JobActive(UserError):
    """It is still under way."""

    code = "JOB_ACTIVE"


class NotRepeatable(UserError):
    """What the job worked on is gone."""

    code = "JOB_NOT_REPEATABLE"


class IdempotencyMismatch(UserError):
    """The key was used for another request."""

    code = "IDEMPOTENCY_MISMATCH"
