"""What can be wrong with a request about a container.

``CONTAINER_NOT_RUNNING`` is ``workers.errors.NotRunning``; a wrong value is ``InvalidSpec`` with the
fact ``field``.
"""

from __future__ import annotations

from workers.errors import InvalidSpec, UserError


class EnvTooLarge(InvalidSpec):
    code = "ENV_TOO_LARGE"


class LimitTooHigh(InvalidSpec):
    """More than the project allows one container."""

    code = "LIMIT_TOO_HIGH"


class StillRunning(UserError):
    code = "CONTAINER_RUNNING"


class Busy(UserError):
    """An earlier wish is still being carried out and excludes this one."""

    code = "CONTAINER_BUSY"


class Removed(UserError):
    """The container is gone or going; its row and log remain to be read."""

    code = "CONTAINER_REMOVED"
