"""A node with a world around it and containers in it, each a network namespace of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from tests.system.network.netns import Place, make_place
from workers.engine.networks import Networks
from workers.engine.places import Places
from workers.messages import ProjectSlice

INSTANCE = "nettest"
WORLD, RESOLVER, METADATA, PRIVATE, PERMITTED = (
    "203.0.113.5",
    "10.200.0.53",
    "169.254.169.254",
    "10.200.0.1",
    "10.201.0.1",
)
NODE, ELSEWHERE = "198.51.100.2", "203.0.113.200"
PORT, DNS = 8080, 53


@dataclass
class Rig:
    """``node`` is where the test's thread lives; everything the node can reach lies in ``world``."""

    node: Place
    world: Place
    networks: Networks
    places: Places
    stack: ExitStack
    base: int
    count: int = 0

    def project(self, number: int, prefix: int = 24) -> ProjectSlice:
        return ProjectSlice(
            f"{number:02x}" * 16, 1_000_000 + number * 65536, f"10.{self.base}.{number}.0/{prefix}"
        )

    def container(self, project: ProjectSlice) -> tuple[Place, str, str]:
        """A namespace on the project's bridge; its address and the container's id."""
        self.count += 1
        container = f"{self.count:02x}" * 32
        place = make_place(self.stack)
        address = self.networks.lease(project, container)
        self.networks.attach(project, container, address, place.pid)
        return place, address, container


def make_world(stack: ExitStack, node: Place) -> Place:
    """Behind the node's uplink: no route leads back to containers, so only masqueraded packets return."""
    world = make_place(stack)
    uplink = ["link", "add", "uplink", "mtu", "1400", "type", "veth", "peer", "eth0", "mtu", "1400"]
    node.ip(*uplink, "netns", str(world.pid))
    for place, link, address in ((node, "uplink", f"{NODE}/30"), (world, "eth0", "198.51.100.1/30")):
        place.ip("link", "set", "lo", "up")
        place.ip("address", "add", address, "dev", link)
        place.ip("link", "set", link, "up")
    node.ip("route", "add", "default", "via", "198.51.100.1")
    node.ip("address", "add", f"{ELSEWHERE}/32", "dev", "lo")
    for address in (WORLD, RESOLVER, METADATA, PRIVATE, PERMITTED):
        world.ip("address", "add", f"{address}/32", "dev", "lo")
    return world
