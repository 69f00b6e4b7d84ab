"""Messages to the kernel, byte by byte: as iproute2 sends them, seen with strace."""

from __future__ import annotations

import struct

from workers.engine import rtnetlink

MAC = bytes.fromhex("02530a570302")


def words(text: str) -> bytes:
    return bytes.fromhex(text)


def test_a_header_counts_itself_and_asks_for_an_answer() -> None:
    message = rtnetlink.Message(type=16, flags=0x600, body=b"\1\2\3\4")
    assert rtnetlink.encode(message, 7, rtnetlink.ACK) == words(
        "14000000 1000 0506 07000000 00000000 01020304"
    )


def test_a_bridge_is_created_up_with_its_mac_and_without_snooping() -> None:
    message = rtnetlink.create_bridge("sw0", mac=MAC, mtu=1400, alias="a b")
    assert (message.type, message.flags) == (16, 0x600)
    assert message.body == words(
        "00000000 00000000 01000000 01000000"  # any family, no index, IFF_UP and its mask
        "08000300 73773000"  # IFLA_IFNAME "sw0"
        "08000400 78050000"  # IFLA_MTU 1400
        "0a000100 02530a57 03020000"  # IFLA_ADDRESS, padded
        "08001400 61206200"  # IFLA_IFALIAS "a b"
        "24001200"  # IFLA_LINKINFO
        "0b000100 62726964 67650000"  # IFLA_INFO_KIND "bridge"
        "14000200 08000100 00000000 05001700 00000000"  # no forward delay, no multicast snooping
    )


def test_a_veth_is_created_on_its_bridge_with_its_peer_in_another_namespace() -> None:
    message = rtnetlink.create_veth("sv0", master=7, mtu=1400, peer="eth0", peer_mac=MAC, peer_namespace=5)
    assert (message.type, message.flags) == (16, 0x600)
    assert message.body == words(
        "00000000 00000000 01000000 01000000"
        "08000300 73763000"
        "08000400 78050000"
        "08000a00 07000000"  # IFLA_MASTER
        "50001200 09000100 76657468 00000000"  # IFLA_LINKINFO, kind "veth"
        "40000200 3c000100"  # its data: the peer
        "00000000 00000000 00000000 00000000"
        "09000300 65746830 00000000"
        "08000400 78050000"
        "0a000100 02530a57 03020000"
        "08001c00 05000000"  # IFLA_NET_NS_FD
    )


def test_an_address_replaces_itself() -> None:
    message = rtnetlink.add_address(2, "10.87.3.2", 24)
    assert (message.type, message.flags) == (20, 0x500)
    assert message.body == words("02180000 02000000 08000200 0a570302 08000100 0a570302")


def test_a_default_route_names_only_its_gateway() -> None:
    message = rtnetlink.add_default_route("10.87.3.1")
    assert (message.type, message.flags) == (24, 0x600)
    assert message.body == words("02000000 fe030001 00000000 08000500 0a570301")


def test_a_link_is_read_back_with_its_kind_and_alias() -> None:
    sent = rtnetlink.create_bridge("sw0", mac=MAC, mtu=1400, alias="slipway x")
    link = rtnetlink.decode_link(sent.body)
    assert link == rtnetlink.Link(0, "sw0", up=True, mtu=1400, kind="bridge", alias="slipway x")


def test_a_namespace_without_an_id_is_read_as_minus_one() -> None:
    body = bytes(16) + struct.pack("=HHi", 8, 37, -1)
    assert rtnetlink.decode_link(body).peer_namespace == -1


def test_a_route_is_read_back_with_link_source_and_gateway() -> None:
    body = bytes(12) + words("08000400 03000000 08000700 c0000202 08000500 c0000201")
    assert rtnetlink.decode_route(body) == rtnetlink.Route(3, "192.0.2.2", "192.0.2.1")


def test_an_address_is_read_back() -> None:
    assert rtnetlink.decode_address(rtnetlink.add_address(2, "10.87.3.2", 24).body) == (2, "10.87.3.2", 24)


def test_several_messages_in_one_packet_are_told_apart() -> None:
    first = rtnetlink.encode(rtnetlink.Message(16, 0, b"abc"), 1, 0)
    second = rtnetlink.encode(rtnetlink.Message(17, 0, b""), 2, 0)
    assert [(kind, seq, body) for kind, _, seq, body in rtnetlink.split(first + b"\0" + second)] == [
        (16, 1, b"abc"),
        (17, 2, b""),
    ]


def test_a_refusal_carries_the_kernels_words() -> None:
    text = b"Device is already there\0"
    body = struct.pack("=i", -17) + bytes(16) + struct.pack("=HH", 4 + len(text), 1) + text
    assert rtnetlink.refusal(0x300, body) == (17, "Device is already there")
    assert rtnetlink.refusal(0x100, struct.pack("=i", -17) + bytes(16)) == (17, "")
    assert rtnetlink.refusal(0x100, struct.pack("=i", 0) + bytes(16)) == (0, "")


def test_broken_attributes_end_the_reading() -> None:
    assert rtnetlink.attributes(words("08000100 01020304 00000000 0000")) == {1: bytes([1, 2, 3, 4])}
