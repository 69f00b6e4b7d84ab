"""Who reaches whom, for real: bridges, wires and rules on a node of the test's own."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.system.network.netns import Place
from tests.system.network.rig import (
    DNS,
    ELSEWHERE,
    INSTANCE,
    METADATA,
    NODE,
    PERMITTED,
    PORT,
    PRIVATE,
    RESOLVER,
    WORLD,
    Rig,
)
from workers.engine.netlink import Netlink
from workers.engine.rtnetlink import LOOPBACK, add_address
from workers.engine.wires import bridge_name, mac_of
from workers.messages import ProjectSlice


def test_containers_of_one_project_reach_each_other(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    one, _, _ = rig.container(project)
    two, address, _ = rig.container(project)
    with two.listen("0.0.0.0", PORT):
        assert one.reaches(address, PORT)


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
            assert rig.node.reaches(address, PORT)
            assert not container.dials(address, PORT), address


def test_the_node_reaches_a_container(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, address, _ = rig.container(project)
    with container.listen("0.0.0.0", PORT):
        assert rig.node.reaches(address, PORT)


def test_a_container_reaches_the_world_from_the_nodes_address(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    with rig.world.listen(WORLD, PORT) as server:
        assert container.reaches(WORLD, PORT)
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
            assert rig.node.reaches(address, PORT)
            knock = container.reaches if open_ else container.dials
            assert knock(address, PORT) is open_, address


def test_the_resolver_answers_on_its_port_only(rig: Rig) -> None:
    project = rig.project(1)
    rig.networks.ensure(project)
    container, _, _ = rig.container(project)
    with rig.world.listen(RESOLVER, DNS), rig.world.listen(RESOLVER, PORT), rig.world.listen(PRIVATE, DNS):
        assert container.reaches(RESOLVER, DNS)
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
        assert container.reaches(PRIVATE, DNS)


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
        assert one.reaches(WORLD, PORT)
        assert one.reaches(address, PORT)
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
        assert container.reaches(WORLD, PORT)
    listed = subprocess.run(["iptables-nft", "-S", "DOCKER-USER"], check=True, capture_output=True, text=True)
    assert listed.stdout.count(f"slipway {INSTANCE}") == 2
