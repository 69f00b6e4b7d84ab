"""A project's bridge, its containers' addresses, and the wire between the two.

What belongs to an instance is written on the bridges themselves (their alias names instance,
project and subnet), so rules can be restored and everything removed with no other record.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import ipaddress
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.engine import forwarding, leases, resolvers, rules
from workers.engine.netlink import Netlink
from workers.engine.nftables import Nftables
from workers.engine.places import Places
from workers.engine.rtnetlink import Link, create_veth
from workers.engine.rules import Egress, Segment
from workers.engine.wires import (
    bridge_name,
    configure,
    delete_bridges,
    mac_of,
    namespace_of,
    peer_lives,
    plug,
    raise_bridge,
    stands,
    unplug,
    veth_name,
)
from workers.errors import NetworkFailed
from workers.messages import ProjectSlice

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""What containers may not reach unless allowed; link-local addresses are always denied."""

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_State = tuple[int, tuple[int, ...]]


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
        sources: Sequence[Path] = resolvers.SOURCES,
    ) -> None:
        self._places = places
        self._instance = instance
        self._table = rules.table_name(instance)
        self._deny = _parse_networks(egress_deny)
        self._allow = _parse_networks(egress_allow)
        self._sources = tuple(sources)
        self._mutex = threading.Lock()
        self._verified: dict[str, tuple[str, _State]] = {}
        self._healed: _State | None = None
        self._legacy_passed = False

    @functools.cached_property
    def _nftables(self) -> Nftables:
        return Nftables()

    # ------------------------------------------------------------------ the project

    def ensure(self, project: ProjectSlice) -> None:
        """The project's bridge is up and the rules hold. Under 0.2 ms when that is so already."""
        if self._sound(project):
            return
        with _reported(f"The network of project {project.id}"), self._exclusive():
            segment = Segment(bridge_name(project.id), project.subnet)
            state = self._hold_rules(segment)
            if self._pass_barriers():
                state = self._hold_rules(segment)
            raise_bridge(segment, self._alias(project))
            if not _forwards():
                _FORWARD.write_text("1")
            self._verified[project.id] = (project.subnet, state)

    def heal(self) -> None:
        """Repair what others undid while containers run; for the agent, now and then.

        After it the rules hold for every bridge that stands, and no veth is left whose container has
        gone but whose namespace somebody keeps alive.
        """
        if self._healed != self._state():
            with _reported("The rules of containers' networks"), self._exclusive():
                segments = self._standing().values()
                state = self._hold_rules(*segments) if segments else self._state()
                if segments and self._pass_barriers():
                    state = self._hold_rules(*segments)
                self._healed = state
        with _reported("The wires of removed containers"):
            self._sweep()

    def remove_project(self, project_id: str) -> None:
        """Remove the project's bridge, rules and leases. Its containers must be gone."""
        with _reported(f"The network of project {project_id}"), self._exclusive(), Netlink() as host:
            links = host.links()
            name = bridge_name(project_id)
            delete_bridges(host, links, [link for link, _ in self._owned(links) if link.name == name])
            self._forget()
            self._load(())
            leases.drop(self._places.leases(project_id))

    def teardown(self) -> None:
        """Remove everything of this instance from the node: bridges, veths, table, leases.

        The node goes on forwarding packets: others may have come to rely on it.
        """
        with _reported("The networks of this node"), self._exclusive(), Netlink() as host:
            links = host.links()
            delete_bridges(host, links, [link for link, _ in self._owned(links)])
            self._forget()
            chains = forwarding.barriers(self._nftables.base_chains(), self._table)
            for barrier in [*chains, *forwarding.legacy_barriers()]:
                forwarding.withdraw(barrier, self._instance)
            self._nftables.run(rules.remove(self._table))
            for directory in self._places.addresses.iterdir():
                leases.drop(directory)

    def allows(self, address: str) -> bool:
        """Whether the operator lets containers reach this private address."""
        host = ipaddress.ip_address(address)
        return any(host in ipaddress.ip_network(each) for each in self._allow)

    # ------------------------------------------------------------------ the container

    def lease(self, project: ProjectSlice, container: str) -> str:
        """An IPv4 address of the project for the container: the one it has, else a free one.

        Raise ``NoAddress`` when the subnet is full.
        """
        return leases.take(self._places.leases(project.id), project.subnet, container)

    def attach(self, project: ProjectSlice, container: str, address: str, pid: int) -> None:
        """Give the network namespace of ``pid`` an ``eth0`` with ``address`` and a default route.

        Needs ``ensure`` before. Nothing is left when it fails.
        """
        with _reported(f"The network of container {container}"), Netlink() as host:
            bridge = host.find_link(bridge_name(project.id))
            if bridge is None:
                raise NetworkFailed(
                    f"Project {project.id} has no bridge on this node; start the container again"
                )
            with namespace_of(pid) as namespace:
                veth = create_veth(
                    veth_name(container),
                    master=bridge.index,
                    mtu=bridge.mtu,
                    peer="eth0",
                    peer_mac=mac_of(address),
                    peer_namespace=namespace,
                )
                plug(host, veth_name(container), veth)
                try:
                    configure(namespace, address, project.subnet)
                except BaseException:
                    unplug(host, veth_name(container))
                    raise

    def release(self, project_id: str, container: str) -> None:
        """Free the address of a container whose processes are gone.

        The death of their namespace takes the veth along, in the background; to ask for it here would
        wait for the kernel, up to 50 ms. ``heal`` removes a veth whose namespace somebody keeps alive.
        """
        leases.give_back(self._places.leases(project_id), container)

    def resolv_conf(self) -> str:
        """The text of a container's ``/etc/resolv.conf``: the node's resolvers it can reach."""
        return resolvers.render(resolvers.read(self._sources))

    # ------------------------------------------------------------------ rules

    def _state(self) -> _State:
        """Changes when the node's packet rules or resolvers do."""
        return self._nftables.generation(), resolvers.stamp(self._sources)

    def _egress(self) -> Egress:
        return Egress(self._deny, self._allow, resolvers.read(self._sources).servers)

    def _sound(self, project: ProjectSlice) -> bool:
        if self._verified.get(project.id) != (project.subnet, self._state()):
            return False
        with Netlink() as host:
            return stands(host, Segment(bridge_name(project.id), project.subnet)) and _forwards()

    def _hold_rules(self, *segments: Segment) -> _State:
        """Load what is missing; return the state in which nothing was."""
        for _ in range(3):
            state = self._state()  # first: a change behind our back then shows at the next look
            egress = self._egress()
            listing = self._nftables.listing(self._table)
            if listing is not None and rules.intact(listing, egress):
                if self._holds(segments):
                    return state
                self._add(segments)
            else:
                self._load(segments)
        raise NetworkFailed(
            f"The table inet {self._table} does not stay as it was loaded; another program changes it: "
            "see `nft monitor`"
        )

    def _holds(self, segments: Sequence[Segment]) -> bool:
        try:
            self._nftables.run("".join(rules.find_segment(self._table, segment) for segment in segments))
        except NetworkFailed:
            return False
        return True

    def _add(self, segments: Sequence[Segment]) -> None:
        standing = self._standing()
        if any(standing.get(segment.bridge, segment) != segment for segment in segments):
            self._load(segments)  # a project got another subnet: its old one must go
        else:
            commands = (rules.add_segment(self._table, segment) for segment in segments)
            self._nftables.run("".join(commands))

    def _load(self, segments: Sequence[Segment]) -> None:
        """Load the whole table, with these and every standing bridge."""
        everything = self._standing() | {segment.bridge: segment for segment in segments}
        self._nftables.run(rules.render(self._table, self._egress(), everything.values()))

    def _pass_barriers(self) -> bool:
        """See that no other program's firewall stops our bridges; whether that took a change."""
        found = forwarding.barriers(self._nftables.base_chains(), self._table)
        if found and forwarding.open_for_bridges(self._nftables):
            found = []
        if not self._legacy_passed:  # asking costs a process, and its changes do not show in the state
            found += forwarding.legacy_barriers()
            self._legacy_passed = True
        for barrier in found:
            # What cannot be passed keeps containers from the world, not from running: doctor tells.
            with contextlib.suppress(NetworkFailed):
                forwarding.admit(barrier, self._instance)
        return bool(found)

    # ------------------------------------------------------------------ ownership

    def _forget(self) -> None:
        self._verified.clear()
        self._healed = None
        self._legacy_passed = False

    def _alias(self, project: ProjectSlice) -> str:
        return f"slipway {self._instance} {project.id} {project.subnet}"

    def _standing(self) -> dict[str, Segment]:
        """This instance's bridges by name, as they are on the node now."""
        with Netlink() as host:
            return {segment.bridge: segment for _, segment in self._owned(host.links())}

    def _owned(self, links: Sequence[Link]) -> list[tuple[Link, Segment]]:
        prefix = f"slipway {self._instance} "
        bridges = [link for link in links if link.kind == "bridge" and link.alias.startswith(prefix)]
        return [(link, Segment(link.name, link.alias.rpartition(" ")[2])) for link in bridges]

    def _sweep(self) -> None:
        with Netlink() as host:
            links = host.links()  # before the leases: whoever comes later has one before it has a veth
            masters = {link.index for link, _ in self._owned(links)}
            holders = {
                veth_name(container)
                for directory in self._places.addresses.iterdir()
                for container in leases.holders(directory)
            }
            for link in links:
                if link.master in masters and link.name not in holders and peer_lives(host, link):
                    unplug(host, link.name)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One change at a time on this node, across threads and processes."""
        self._places.addresses.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self._places.addresses, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._mutex:
                fcntl.flock(directory, fcntl.LOCK_EX)
                yield
        finally:
            os.close(directory)


def _forwards() -> bool:
    return _FORWARD.read_bytes().startswith(b"1")


def _parse_networks(texts: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.IPv4Network(text)) for text in texts)
    except ValueError as error:
        raise NetworkFailed(f"Egress rules name IPv4 networks such as 10.0.0.0/8: {error}") from error


@contextlib.contextmanager
def _reported(subject: str) -> Iterator[None]:
    """Turn the kernel's refusals into ``NetworkFailed`` that names its subject."""
    try:
        yield
    except PermissionError as error:
        raise NetworkFailed(f"{subject} cannot be changed without root: {error}") from error
    except OSError as error:
        raise NetworkFailed(f"{subject} could not be set up: {error}", errno=error.errno) from error
