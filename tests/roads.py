"""A road for commands that leads nowhere: what tests look at instead of a broker."""

from __future__ import annotations

from django.db import connection

from slipway.nodes.models import Node
from workers.messages import Command


class RecordingRoad:
    """Remembers what was sent; ``is_down`` makes it a broker that is away."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.is_down = False

    def deliver(self, command: Command, node: Node) -> None:
        if self.is_down:
            raise ConnectionError("the broker is away")
        self.sent.append(command)

    def take(self) -> list[Command]:
        """Commit what the test has done so far, as far as hooks are concerned; return what that sent."""
        self.commit()
        sent, self.sent = self.sent, []
        return sent

    def commit(self) -> None:
        """Run the hooks only; what they send stays."""
        while connection.run_on_commit:  # what a hook does may have hooks of its own
            hooks, connection.run_on_commit = connection.run_on_commit, []
            for _, hook, _ in hooks:
                hook()
