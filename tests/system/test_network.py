"""Bridges, wires and rules for real: the node is a network namespace, so the machine's own is not touched."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.netns import Place, enter, make_place
from workers.engine.netlink import Netlink
from workers.engine.networks import Networks
from workers.engine.places import Places
from workers.engine.rtnetlink import LOOPBACK, add_address
from workers.engine.wires import bridge_name, mac_of, veth_name
from workers.errors import NetworkFailed, NoAddress
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


def _world(stack: ExitStack, node: Place) -> Place:
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


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {RESOLVER}\n")
    places = Places(tmp_path / "data", tmp_path / "run")
    places.prepare()
    with ExitStack() as stack:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        stack.callback(os.close, home)
        node = make_place(stack)
        world = _world(stack, node)
        enter(node.path)
        stack.callback(enter, home)
        networks = Networks(places, INSTANCE, egress_allow=["10.201.0.0/16"], sources=[resolv_conf])
        yield Rig(node, world, networks, places, stack, random.randint(90, 99))


def eventually(holds: Callable[[], bool], deadline: float = 5.0) -> bool:
    until = time.monotonic() + deadline
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def links() -> set[str]:
    with Netlink() as host:
        return {link.name for link in host.links()}


def tables() -> str:
    return subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout


# --------------------------------------------------------------------------- who reaches whom


def test_containers_of_one_project_reach_each_other(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    one, _, _ = rig.container(project)
    two, address, _ = rig.container(project)
    with two.listen("0.0.0.0", PORT):
        assert one.dials(address, PORT)


def test_projects_do_not_reach_each_other(rig: Rig) -> None:
    first, second = rig.project(1), rig.project(2)
    rig.networks.ensure(first)
    rig.networks.ensure(second)
    one, address_of_one, _ = rig.container(first)
    two, address_of_two, _ = rig.container(second)
    with one.listen("0.0.0.0", PORT), two.listen("0.0.0.0", PORT):
        assert not one.dials(address_of_two, PORT)
        assert not two.dials(address_of_one, PORT)


def test_a_container_reaches_no_address_of_the_node(rig: Rig) -> None:
    project, other = rig.project(1), rig.project(2)
    rig.networks.ensure(project)
    rig.networks.ensure(other)
    container, _, _ = rig.container(project)
    with rig.node.listen("0.0.0.0", PORT):
        gateways = [f"10.{rig.base}.{number}.1" for number in (1, 2)]
        for address in (NODE, ELSEWHERE, *gateways):
            assert rig.node.dials(address, PORT)
            assert not container.dials(address, PORT), address


def test_the_node_reaches_a_container(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, address, _ = rig.container(project)
    with container.listen("0.0.0.0", PORT):
        assert rig.node.dials(address, PORT)


def test_a_container_reaches_the_world_from_the_nodes_address(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    with rig.world.listen(WORLD, PORT) as server:
        assert container.dials(WORLD, PORT)
        connection, peer = server.accept()
        connection.close()
    assert peer[0] == NODE


def test_the_world_opens_no_connection_to_a_container(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, address, _ = rig.container(project)
    rig.world.ip("route", "add", f"10.{rig.base}.0.0/16", "via", NODE)
    with container.listen("0.0.0.0", PORT):
        assert not rig.world.dials(address, PORT)


def test_private_and_metadata_addresses_are_closed_but_for_what_is_allowed(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    expected = {METADATA: False, PRIVATE: False, PERMITTED: True}
    for address, open_ in expected.items():
        with rig.world.listen(address, PORT):
            assert rig.node.dials(address, PORT)
            assert container.dials(address, PORT) is open_, address


def test_the_resolver_answers_on_its_port_only(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    with rig.world.listen(RESOLVER, DNS), rig.world.listen(RESOLVER, PORT), rig.world.listen(PRIVATE, DNS):
        assert container.dials(RESOLVER, DNS)
        assert not container.dials(RESOLVER, PORT)
        assert not container.dials(PRIVATE, DNS)
    assert rig.networks.resolv_conf() == f"nameserver {RESOLVER}\n"


def test_a_new_resolver_is_let_through_at_the_next_start(rig: Rig, tmp_path: Path) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    with rig.world.listen(PRIVATE, DNS):
        assert not container.dials(PRIVATE, DNS)
        (tmp_path / "resolv.conf").write_text(f"nameserver {PRIVATE}\n# another\n")
        rig.networks.ensure(project)
        assert container.dials(PRIVATE, DNS)


# --------------------------------------------------------------------------- forged packets


def _udp_in(place: Place, address: str, timeout: float) -> socket.socket:
    made = place.socket(socket.SOCK_DGRAM)
    made.settimeout(timeout)
    made.bind((address, PORT))
    return made


def test_a_packet_with_another_projects_source_is_dropped(rig: Rig) -> None:
    project, other = rig.project(1), rig.project(2)
    rig.networks.ensure(project)
    rig.networks.ensure(other)
    container, address, _ = rig.container(project)
    forged = f"10.{rig.base}.2.9"
    namespace = os.open(container.path, os.O_RDONLY)
    with Netlink(namespace) as inside:
        inside.batch([add_address(LOOPBACK, forged, 32)])
    os.close(namespace)
    with _udp_in(rig.world, WORLD, 5) as server:
        for source in (forged, address):
            with container.socket(socket.SOCK_DGRAM) as sender:
                sender.bind((source, 0))
                sender.sendto(source.encode(), (WORLD, PORT))
        assert server.recv(100).decode() == address  # the forged one came first, and did not arrive


def _frame(project: ProjectSlice, source: str, destination: str, payload: bytes) -> bytes:
    gateway = project.subnet.replace(".0/24", ".1")
    udp = struct.pack(">HHHH", 4000, PORT, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + header[12:]
    return mac_of(gateway) + mac_of(source) + struct.pack(">H", 0x0800) + header + udp


def test_loopback_addresses_are_closed_even_where_the_kernel_would_route_them(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, address, _ = rig.container(project)
    Path(f"/proc/sys/net/ipv4/conf/{bridge_name(project.id)}/route_localnet").write_text("1")
    wire = container.socket(socket.SOCK_RAW, socket.AF_PACKET)
    with wire, _udp_in(rig.node, "127.0.0.1", 0.3) as service:
        wire.bind(("eth0", 0))
        wire.send(_frame(project, address, "127.0.0.1", b"knock"))
        with pytest.raises(TimeoutError):
            service.recv(100)
        # Nothing but our rules kept it out: without them it arrives.
        subprocess.run(["nft", "delete", "table", "inet", f"slipway-{INSTANCE}"], check=True)
        wire.send(_frame(project, address, "127.0.0.1", b"knock"))
        assert service.recv(100) == b"knock"


def test_ipv6_does_not_leave_the_bridge(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    bridge = bridge_name(project.id)
    Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6").write_text("0")  # as somebody might
    rig.node.ip("address", "add", "fd99::1/64", "dev", bridge, "nodad")
    container, _, _ = rig.container(project)
    container.ip("address", "add", "fd99::2/64", "dev", "eth0", "nodad")
    with (
        rig.node.socket(family=socket.AF_INET6) as server,
        container.socket(family=socket.AF_INET6) as client,
    ):
        server.bind(("fd99::1", PORT))
        server.listen()
        client.settimeout(0.5)
        with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
            client.connect(("fd99::1", PORT))


# --------------------------------------------------------------------------- foreign firewalls


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_containers_pass_a_firewall_that_drops_what_is_forwarded(rig: Rig, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run([program, "-P", "FORWARD", "DROP"], check=True)
    project = rig.project(1)
    rig.networks.ensure(project)
    one, _, _ = rig.container(project)
    two, address, _ = rig.container(project)
    with rig.world.listen(WORLD, PORT), two.listen("0.0.0.0", PORT):
        assert one.dials(WORLD, PORT)
        assert one.dials(address, PORT)
    rig.networks.teardown()
    listed = subprocess.run([program, "-S", "FORWARD"], check=True, capture_output=True, text=True).stdout
    assert listed == "-P FORWARD DROP\n"


def test_a_firewall_started_later_is_passed_at_the_next_look(rig: Rig) -> None:
    if shutil.which("iptables-nft") is None:
        pytest.skip("iptables-nft is not installed")
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    for command in (("-N", "DOCKER-USER"), ("-I", "FORWARD", "-j", "DOCKER-USER"), ("-P", "FORWARD", "DROP")):
        subprocess.run(["iptables-nft", *command], check=True)
    with rig.world.listen(WORLD, PORT):
        assert not container.dials(WORLD, PORT)
        rig.networks.heal()
        assert container.dials(WORLD, PORT)
    listed = subprocess.run(["iptables-nft", "-S", "DOCKER-USER"], check=True, capture_output=True, text=True)
    assert listed.stdout.count(f"slipway {INSTANCE}") == 2


# --------------------------------------------------------------------------- repeated, repaired, removed


def test_ensure_is_repeatable_and_cheap(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        rig.networks.ensure(project)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[10] < 0.002  # 0.07 ms on an idle machine; other tests may run beside this one


@pytest.mark.parametrize("damage", ["bridge", "down", "address", "table", "rules", "ruleset", "forwarding"])
def test_ensure_repairs_what_somebody_undid(rig: Rig, damage: str) -> None:
    project, other = rig.project(1), rig.project(2)
    rig.networks.ensure(project)
    rig.networks.ensure(other)
    bridge, table = bridge_name(project.id), f"inet slipway-{INSTANCE}"
    commands = {
        "bridge": f"ip link delete {bridge}",
        "down": f"ip link set {bridge} down",
        "address": f"ip address flush dev {bridge}",
        "table": f"nft delete table {table}",
        "rules": f"nft flush chain {table} leaving",
        "ruleset": "nft flush ruleset",
        "forwarding": "sysctl -q net.ipv4.ip_forward=0",
    }
    subprocess.run(commands[damage].split(), check=True)
    rig.networks.ensure(project)
    one, _, _ = rig.container(project)
    two, address_of_two, _ = rig.container(other)
    with rig.world.listen(WORLD, PORT), two.listen("0.0.0.0", PORT):
        assert one.dials(WORLD, PORT)
        assert two.dials(WORLD, PORT)
        assert not one.dials(address_of_two, PORT)


def test_heal_restores_flushed_rules_for_containers_that_run(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    with rig.world.listen(WORLD, PORT), rig.world.listen(PRIVATE, PORT):
        assert not container.dials(WORLD, PORT)  # nothing masquerades
        rig.networks.heal()
        assert container.dials(WORLD, PORT)
        assert not container.dials(PRIVATE, PORT)


def test_a_second_instance_of_networks_keeps_what_the_first_set_up(rig: Rig) -> None:
    first, second = rig.project(1), rig.project(2)
    rig.networks.ensure(first)
    one, address, _ = rig.container(first)
    after_restart = Networks(rig.places, INSTANCE)
    after_restart.ensure(second)
    two, _, _ = rig.container(second)
    with rig.world.listen(WORLD, PORT), one.listen("0.0.0.0", PORT):
        assert one.dials(WORLD, PORT)
        assert not two.dials(address, PORT)


def test_a_container_starts_again_while_its_last_veth_is_still_there(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    _, address, container = rig.container(project)
    again = make_place(rig.stack)
    assert rig.networks.lease(project, container) == address
    rig.networks.attach(project, container, address, again.pid)
    with rig.world.listen(WORLD, PORT):
        assert again.dials(WORLD, PORT)


def test_the_mtu_is_the_uplinks(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    assert "mtu 1400" in container.ip("link", "show", "eth0")


def test_an_attachment_that_fails_leaves_nothing(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    place = make_place(rig.stack)
    before = links()
    with pytest.raises(NetworkFailed, match="could not be set up"):
        rig.networks.attach(project, "ab" * 32, "10.1.1.1", place.pid)  # its gateway is out of reach
    assert links() == before
    with pytest.raises(NetworkFailed, match="no network namespace of its own"):
        rig.networks.attach(project, "ab" * 32, f"10.{rig.base}.1.9", os.getpid())
    place.leave()
    with pytest.raises(NetworkFailed, match="could not be set up"):
        rig.networks.attach(project, "ab" * 32, f"10.{rig.base}.1.9", place.pid)
    assert links() == before


def test_the_veth_goes_with_its_namespace(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    place, _, container = rig.container(project)
    place.leave()
    rig.networks.release(project.id, container)
    rig.networks.release(project.id, container)
    assert eventually(lambda: veth_name(container) not in links())
    assert not list(rig.places.leases(project.id).glob("[0-9]*"))


def test_heal_removes_the_veth_of_a_namespace_that_somebody_keeps_alive(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    _, _, gone = rig.container(project)
    _, _, running = rig.container(project)
    rig.networks.release(project.id, gone)
    rig.networks.heal()
    assert veth_name(gone) not in links()
    assert veth_name(running) in links()


def test_a_full_subnet_is_said_to_be_full(rig: Rig) -> None:
    project = rig.project(1, prefix=30)
    rig.networks.ensure(project)
    rig.container(project)
    with pytest.raises(NoAddress, match="is taken"):
        rig.networks.lease(project, "ff" * 32)


def test_a_subnet_that_leads_elsewhere_is_refused_with_its_name(rig: Rig) -> None:
    project = rig.project(1)
    rig.node.ip("route", "add", f"10.{rig.base}.1.0/25", "via", "198.51.100.1")
    with pytest.raises(NetworkFailed, match="go to uplink"):
        rig.networks.ensure(project)
    assert bridge_name(project.id) not in links()


def test_an_interface_of_somebody_else_is_left_alone(rig: Rig) -> None:
    project = rig.project(1)
    rig.node.ip("link", "add", bridge_name(project.id), "type", "bridge")
    with pytest.raises(NetworkFailed, match="belongs to something else"):
        rig.networks.ensure(project)
    assert bridge_name(project.id) in links()


def test_remove_project_takes_its_bridge_and_leaves_the_others(rig: Rig) -> None:
    gone, stays = rig.project(1), rig.project(2)
    rig.networks.ensure(gone)
    rig.networks.ensure(stays)
    rig.container(gone)
    container, _, _ = rig.container(stays)
    rig.networks.remove_project(gone.id)
    rig.networks.remove_project(gone.id)
    assert bridge_name(gone.id) not in links()
    assert not rig.places.leases(gone.id).exists()
    with rig.world.listen(WORLD, PORT):
        assert container.dials(WORLD, PORT)


def test_teardown_leaves_nothing(rig: Rig) -> None:
    before, tables_before = links(), tables()
    for number in (1, 2):
        rig.networks.ensure(rig.project(number))
        rig.container(rig.project(number))
    assert links() > before
    rig.networks.teardown()
    rig.networks.teardown()
    assert links() == before
    assert tables() == tables_before
    assert not list(rig.places.addresses.iterdir())
