"""What a container holds of its project's quota; pure."""

from __future__ import annotations

from slipway.containers.models import Container
from slipway.projects.models import Resource

KIND = "container"


def claims(row: Container) -> dict[str, int]:
    """Itself until it is removed; CPU and memory while it has a process or is about to.

    A start that the node has not answered counts, whatever was wished since: it may be under way.
    """
    if row.removed_at is not None:
        return {}
    held = {Resource.CONTAINERS.value: 1}
    if row.is_alive or (row.pending and row.desired_run > row.run):
        limits = row.spec.get("limits", {})
        held[Resource.CPU.value] = int(limits.get("cpu_millis", 0))
        held[Resource.MEMORY.value] = int(limits.get("memory_bytes", 0))
    return held
