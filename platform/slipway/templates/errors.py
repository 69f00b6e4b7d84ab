"""What can be wrong with a template, or with what is filled into one."""

from __future__ import annotations

from workers.errors import UserError


class InvalidTemplate(UserError):
    """It says something that no container could be made of; ``field`` names what."""

    code = "TEMPLATE_INVALID"


class InvalidValue(UserError):
    """What was filled in does not fit its field, which ``field`` names."""

    code = "TEMPLATE_VALUE_INVALID"
