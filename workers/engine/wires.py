"""Bridges on the node and the veths that lead from them into containers."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.engine import leases
from workers.engine.netlink import Netlink, NetlinkError
from workers.engine.rtnetlink import (
    LOOPBACK,
    Link,
    Message,
    add_address,
    add_default_route,
    change_link,
    create_bridge,
    delete_address,
    delete_link,
)
from workers.engine.rules import Segment
from workers.errors import NetworkFailed

SOMEWHERE = "1.1.1.1"
"""Stands for the world when asking which way out is; nothing is sent there."""


def bridge_name(project_id: str) -> str:
    return f"sw{project_id[:10]}"


def veth_name(container: str) -> str:
    """The node's end of a container's wire; 15 characters are all an interface name may have."""
    return f"sv{container[:13]}"


def mac_of(address: str) -> bytes:
    """A locally administered MAC that follows from the address, so no neighbour table goes stale."""
    return b"\x02\x53" + socket.inet_aton(address)


def raise_bridge(segment: Segment, alias: str) -> None:
    """The bridge exists, is up, and packets for its subnet go there."""
    with Netlink() as host:
        link = host.find_link(segment.bridge)
        created = link is None
        if link is None:
            link = _create_bridge(host, segment, alias)
        elif link.kind != "bridge" or link.alias.split(" ")[:3] != alias.split(" ")[:3]:
            raise NetworkFailed(
                f"The interface {segment.bridge} belongs to something else; "
                f"remove it with: ip link delete {segment.bridge}"
            )
        mtu = uplink_mtu(host)
        if (link.alias, link.mtu) == (alias, mtu) and stands(host, segment):
            return
        own = (leases.gateway(segment.subnet), _prefix(segment.subnet))
        stale = [delete_address(link.index, *each) for each in host.addresses(link.index) if each != own]
        host.batch([*stale, change_link(link.index, alias=alias, mtu=mtu), add_address(link.index, *own)])
        if not stands(host, segment):
            if created:
                unplug(host, segment.bridge)
            raise _conflict(host, segment)


def _create_bridge(host: Netlink, segment: Segment, alias: str) -> Link:
    mac = mac_of(leases.gateway(segment.subnet))
    host.batch([create_bridge(segment.bridge, mac=mac, mtu=uplink_mtu(host), alias=alias)])
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{segment.bridge}/disable_ipv6").write_text("1")
    link = host.find_link(segment.bridge)
    if link is None:
        raise NetworkFailed(f"The bridge {segment.bridge} vanished while it was made")
    return link


def stands(host: Netlink, segment: Segment) -> bool:
    """One lookup tells: the bridge is up, has its address, and nothing else claims its subnet."""
    gateway = leases.gateway(segment.subnet)
    try:
        index = socket.if_nametoindex(segment.bridge)
    except OSError:
        return False
    route = host.find_route(str(ipaddress.IPv4Address(gateway) + 1))
    return route is not None and route.link == index and route.source == gateway and route.gateway is None


def _conflict(host: Netlink, segment: Segment) -> NetworkFailed:
    route = host.find_route(str(ipaddress.IPv4Address(leases.gateway(segment.subnet)) + 1))
    where = socket.if_indextoname(route.link) if route else "nowhere"
    return NetworkFailed(
        f"Packets for {segment.subnet} go to {where}, not to the project's bridge {segment.bridge}; "
        "choose other networks with SLIPWAY_SUBNETS",
        subnet=segment.subnet,
    )


def uplink_mtu(host: Netlink) -> int:
    """MTU of the interface that leads to the world; 1500 when none does."""
    route = host.find_route(SOMEWHERE)
    if route is None:
        return 1500
    link = host.find_link(socket.if_indextoname(route.link))
    return link.mtu if link else 1500


@contextlib.contextmanager
def namespace_of(pid: int) -> Iterator[int]:
    """A descriptor of the process's network namespace, which must not be the node's own."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(namespace).st_ino == os.stat("/proc/thread-self/ns/net").st_ino:
            raise NetworkFailed(f"Process {pid} has no network namespace of its own")
        yield namespace
    finally:
        os.close(namespace)


def plug(host: Netlink, name: str, veth: Message) -> None:
    try:
        host.batch([veth])
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
        # The last run's veth: the kernel had no time yet to tidy its namespace.
        unplug(host, name)
        host.batch([veth])


def configure(namespace: int, address: str, subnet: str) -> None:
    with Netlink(namespace) as inside:
        link = inside.find_link("eth0")
        if link is None:
            raise NetworkFailed("eth0 vanished while it was configured")
        inside.batch(
            [
                change_link(LOOPBACK),
                change_link(link.index),
                add_address(link.index, address, _prefix(subnet)),
                add_default_route(leases.gateway(subnet)),
            ]
        )


def unplug(host: Netlink, name: str) -> None:
    try:
        host.batch([delete_link(name)])
    except NetlinkError as error:
        if error.errno != errno.ENODEV:
            raise


def peer_lives(host: Netlink, link: Link) -> bool:
    if link.peer_namespace is None:  # both ends are here
        return True
    return link.peer_namespace >= 0 and host.namespace_lives(link.peer_namespace)


def delete_bridges(host: Netlink, links: Sequence[Link], bridges: Sequence[Link]) -> None:
    """Delete bridges and the veths on them."""
    masters = {bridge.index for bridge in bridges}
    for link in [*(link for link in links if link.master in masters), *bridges]:
        unplug(host, link.name)


def _prefix(subnet: str) -> int:
    return int(subnet.rpartition("/")[2])
