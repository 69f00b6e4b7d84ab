"""What can be wrong with a node, seen from the platform."""

from __future__ import annotations

from workers.errors import NodeError, UserError


class NoNode(NodeError):
    """No node is registered, so there is nowhere to put a project."""

    code = "NODE_NONE"


class NodeUnreachable(NodeError):
    """The node's agent does not answer."""

    code = "NODE_UNREACHABLE"


class LogGone(UserError):
    """What wrote it has begun, but its node keeps the log no longer."""

    code = "LOG_GONE"
