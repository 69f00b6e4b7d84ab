"""What can be wrong with a wish about a build."""

from __future__ import annotations

from workers.errors import UserError


class Unsupported(UserError):
    """A parameter of Docker's that nothing here can honour."""

    code = "BUILD_PARAMETER_UNSUPPORTED"


class InvalidBuild(UserError):
    """A parameter that is not what it must be; ``field`` names it."""

    code = "BUILD_INVALID"


class ContextGone(UserError):
    """What was uploaded for the build is no longer kept."""

    code = "BUILD_CONTEXT_GONE"


class NoOutput(UserError):
    """The build made no tar, or it is no longer kept."""

    code = "BUILD_OUTPUT_MISSING"


class SecretsNeeded(UserError):
    """The secrets of a build are dropped when it ends; a retry needs them again."""

    code = "BUILD_SECRETS_NEEDED"
