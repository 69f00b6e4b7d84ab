"""What of a container's settings is shown to those who may look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HIDDEN_ENV = "slipway.hidden-env"
"""Label with the names of variables, in words, whose values nobody is shown after the container was made."""
HIDDEN = "********"


def shown_env(env: Iterable[str], labels: Mapping[str, str]) -> list[str]:
    """``NAME=value``, with the values of secret ones hidden."""
    hidden = set(labels.get(HIDDEN_ENV, "").split())
    return [
        f"{name}={HIDDEN}" if (name := variable.partition("=")[0]) in hidden else variable for variable in env
    ]
