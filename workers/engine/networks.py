"""A project's bridge, its containers' addresses, and the wire between the two."""

from __future__ import annotations

from collections.abc import Sequence

from workers.engine.places import Places
from workers.messages import ProjectSlice

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""What containers may not reach unless allowed; link-local addresses are always denied."""


class Networks:
    """The networks of one instance on this node. Safe to share between threads and processes.

    ``egress_deny`` are IPv4 networks containers may not open connections to; ``egress_allow``
    are exceptions from it. Every method may be repeated and raises ``NetworkFailed`` (a NodeError).
    """

    def __init__(
        self,
        places: Places,
        instance: str,
        *,
        egress_deny: Sequence[str] = PRIVATE,
        egress_allow: Sequence[str] = (),
    ) -> None:
        raise NotImplementedError

    def ensure(self, project: ProjectSlice) -> None:
        """The project's bridge is up and the rules hold. Under 0.2 ms when that is so already."""
        raise NotImplementedError

    def lease(self, project: ProjectSlice, container: str) -> str:
        """An IPv4 address of the project for the container: the one it has, else a free one.

        Raise ``NoAddress`` when the subnet is full.
        """
        raise NotImplementedError

    def attach(self, project: ProjectSlice, container: str, address: str, pid: int) -> None:
        """Give the network namespace of ``pid`` an ``eth0`` with ``address`` and a default route.

        Needs ``ensure`` before. Nothing is left when it fails.
        """
        raise NotImplementedError

    def release(self, project_id: str, container: str) -> None:
        """Free the container's address; drop its veth if the namespace outlives the container."""
        raise NotImplementedError

    def resolv_conf(self) -> str:
        """The text of a container's ``/etc/resolv.conf``: the node's resolvers it can reach."""
        raise NotImplementedError

    def remove_project(self, project_id: str) -> None:
        """Remove the project's bridge, rules and leases. Its containers must be gone."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Remove everything of this instance from the node: bridges, veths, table, leases."""
        raise NotImplementedError
