"""The messages of rtnetlink (links, addresses, routes) as bytes: pure encoders and decoders."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
ERROR, DONE = 2, 3
ACK, DUMP = 0x4, 0x300
_REQUEST, _EXCL, _CREATE, _REPLACE = 0x1, 0x200, 0x400, 0x100
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR = 16, 17, 18, 20, 21, 22
_NEWROUTE, _GETROUTE = 24, 26
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS = 1, 3, 4, 10, 18, 20
_IFLA_NET_NS_FD, _IFLA_LINK_NETNSID, _IFLA_TARGET_NETNSID = 28, 37, 46
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BR_FORWARD_DELAY, _BR_MCAST_SNOOPING = 1, 23
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NLMSGERR_MSG, _ACK_CAPPED, _ACK_TLVS = 1, 0x100, 0x200
_IFF_UP = 1
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST = 254, 3, 0, 1

LOOPBACK = 1
"""Index of ``lo`` in every network namespace."""


@dataclass(frozen=True)
class Message:
    """A request without its header: type, flags beyond REQUEST, and body."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Link:
    index: int
    name: str
    up: bool
    mtu: int
    master: int | None = None
    kind: str | None = None
    alias: str = ""
    peer_namespace: int | None = None
    """Id by which the kernel names the namespace of a veth's other end, when that is another one."""


@dataclass(frozen=True)
class Route:
    """Where a packet to some address would leave, and from which address."""

    link: int
    source: str | None
    gateway: str | None


# --------------------------------------------------------------------------- encoders (pure)


def create_bridge(name: str, *, mac: bytes, mtu: int, alias: str) -> Message:
    """A bridge that is up: no spanning tree, no multicast snooping, a MAC that ports cannot change."""
    data = _u32(_BR_FORWARD_DELAY, 0) + _attribute(_BR_MCAST_SNOOPING, b"\0")
    info = _text(_INFO_KIND, "bridge") + _attribute(_INFO_DATA, data)
    body = (
        _link_header(flags=_IFF_UP)
        + _text(_IFLA_IFNAME, name)
        + _u32(_IFLA_MTU, mtu)
        + _attribute(_IFLA_ADDRESS, mac)
        + _text(_IFLA_IFALIAS, alias)
        + _attribute(_IFLA_LINKINFO, info)
    )
    return Message(_NEWLINK, _CREATE | _EXCL, body)


def create_veth(
    name: str, *, master: int, mtu: int, peer: str, peer_mac: bytes, peer_namespace: int
) -> Message:
    """A veth on the bridge ``master``, up; its peer is born in the namespace behind that descriptor."""
    other = (
        _link_header()
        + _text(_IFLA_IFNAME, peer)
        + _u32(_IFLA_MTU, mtu)
        + _attribute(_IFLA_ADDRESS, peer_mac)
        + _u32(_IFLA_NET_NS_FD, peer_namespace)
    )
    info = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, other))
    body = (
        _link_header(flags=_IFF_UP)
        + _text(_IFLA_IFNAME, name)
        + _u32(_IFLA_MTU, mtu)
        + _u32(_IFLA_MASTER, master)
        + _attribute(_IFLA_LINKINFO, info)
    )
    return Message(_NEWLINK, _CREATE | _EXCL, body)


def change_link(index: int, *, alias: str | None = None, mtu: int | None = None) -> Message:
    """Bring a link up, and set what is given."""
    body = _link_header(index, _IFF_UP)
    if mtu is not None:
        body += _u32(_IFLA_MTU, mtu)
    if alias is not None:
        body += _text(_IFLA_IFALIAS, alias)
    return Message(_NEWLINK, 0, body)


def get_links() -> Message:
    return Message(_GETLINK, 0, _link_header())


def delete_link(name: str) -> Message:
    return Message(_DELLINK, 0, _link_header() + _text(_IFLA_IFNAME, name))


def add_address(link: int, address: str, prefix: int) -> Message:
    """Also when it is there already."""
    return Message(_NEWADDR, _CREATE | _REPLACE, _address_body(link, address, prefix))


def get_addresses(link: int) -> Message:
    return Message(_GETADDR, 0, struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, link))


def delete_address(link: int, address: str, prefix: int) -> Message:
    return Message(_DELADDR, 0, _address_body(link, address, prefix))


def add_default_route(gateway: str) -> Message:
    header = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0
    )
    return Message(_NEWROUTE, _CREATE | _EXCL, header + _attribute(_RTA_GATEWAY, socket.inet_aton(gateway)))


def get_link(name: str) -> Message:
    return Message(_GETLINK, 0, _link_header() + _text(_IFLA_IFNAME, name))


def get_loopback_of(namespace: int) -> Message:
    """Asks nothing worth knowing, but only a living namespace answers."""
    return Message(_GETLINK, 0, _link_header(LOOPBACK) + _u32(_IFLA_TARGET_NETNSID, namespace))


def get_route(address: str) -> Message:
    header = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    return Message(_GETROUTE, 0, header + _attribute(_RTA_DST, socket.inet_aton(address)))


def _link_header(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _address_body(link: int, address: str, prefix: int) -> bytes:
    packed = socket.inet_aton(address)
    header = struct.pack("=BBBBi", socket.AF_INET, prefix, 0, 0, link)
    return header + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _u32(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def encode(message: Message, sequence: int, flags: int) -> bytes:
    header = struct.pack(
        "=IHHII", 16 + len(message.body), message.type, _REQUEST | message.flags | flags, sequence, 0
    )
    return header + message.body


# --------------------------------------------------------------------------- decoders (pure)


def attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def decode_link(body: bytes) -> Link:
    index, flags = struct.unpack_from("=iI", body, 4)
    found = attributes(body[16:])
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=_decoded(found.get(_IFLA_IFNAME, b"")),
        up=bool(flags & _IFF_UP),
        mtu=_number(found.get(_IFLA_MTU)) or 0,
        master=_number(found.get(_IFLA_MASTER)),
        kind=_decoded(info[_INFO_KIND]) if _INFO_KIND in info else None,
        alias=_decoded(found.get(_IFLA_IFALIAS, b"")),
        peer_namespace=_number(found.get(_IFLA_LINK_NETNSID)),
    )


def decode_address(body: bytes) -> tuple[int, str, int]:
    """Index of its link, IPv4 address, prefix length."""
    prefix, link = struct.unpack_from("=xBxxi", body)
    return link, socket.inet_ntoa(attributes(body[8:])[_IFA_LOCAL]), prefix


def decode_route(body: bytes) -> Route:
    found = attributes(body[12:])
    address = {kind: socket.inet_ntoa(found[kind]) for kind in (_RTA_PREFSRC, _RTA_GATEWAY) if kind in found}
    return Route(_number(found.get(_RTA_OIF)) or 0, address.get(_RTA_PREFSRC), address.get(_RTA_GATEWAY))


def _decoded(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(struct.unpack_from("=i", value)[0])


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence, body."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def refusal(flags: int, body: bytes) -> tuple[int, str]:
    """The error number of an acknowledgement (0 for none) and the kernel's words about it."""
    code = -int(struct.unpack_from("=i", body)[0])
    if not code or not flags & _ACK_TLVS:
        return code, ""
    request = 16 if flags & _ACK_CAPPED else struct.unpack_from("=I", body, 4)[0]
    return code, _decoded(attributes(body[4 + request :]).get(_NLMSGERR_MSG, b""))
