"""What can be wrong with a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.errors import NodeError, UserError

if TYPE_CHECKING:
    from slipway.projects.models import Resource


class AddressPlanFull(NodeError):
    code = "ADDRESS_PLAN_FULL"


class QuotaExceeded(UserError):
    """The project may not have that much; the facts say how much it may, and where to ask for more."""

    code = "QUOTA_EXCEEDED"

    def __init__(self, project: str, resource: Resource, limit: int, used: int, asked: int) -> None:
        super().__init__(
            f"{project} may have {limit} of {resource.value}; {used} are in use and {asked} more were asked "
            f"for. Free some, or ask for a higher limit at /projects/{project}/quota.",
            resource=resource.value,
            limit=limit,
            used=used,
            asked=asked,
            project=project,
            request_url=f"/api/v1/projects/{project}/quota-requests",
        )


class RequestPending(UserError):
    """The same was asked for before, and nobody has decided yet."""

    code = "QUOTA_REQUEST_PENDING"


class RequestDecided(UserError):
    code = "QUOTA_REQUEST_DECIDED"
