"""What can be wrong with a project."""

from __future__ import annotations

from workers.errors import NodeError


class AddressPlanFull(NodeError):
    code = "ADDRESS_PLAN_FULL"
