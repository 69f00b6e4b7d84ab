"""A container's log, as nodes' readers take it."""

from __future__ import annotations

from slipway.containers.models import Container, State
from slipway.nodes.log_reading import Log


def container_log(container: Container) -> Log:
    """``container`` with its node loaded."""
    return Log(
        topic=f"log:{container.id}",
        node=container.node,
        path=f"/v1/containers/{container.id}/logs",
        goes_on=lambda: _goes_on(container.id),
        gone=f"The log of {container.name} is no longer kept." if container.run > 0 else "",
    )


def _goes_on(container: str) -> bool:
    row = Container.objects.filter(pk=container).first()
    return row is not None and (row.is_alive or (row.pending and row.desired == State.RUNNING))
