"""Which addresses a fetch on a tenant's behalf may connect to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

from workers.errors import AddressRefused

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """False for private, shared, loopback, link-local and other special addresses, however written."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def connect(
    host: str, port: int, *, may_be_private: bool, timeout: float, opened: Callable[[socket.socket], None]
) -> socket.socket:
    """A connection to the first address of ``host`` that answers; looked up once, checked, then used.

    ``opened`` is given each socket before it connects. Raise ``AddressRefused`` when all addresses are
    such that ``may_be_private`` would be needed, ``OSError`` when none answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    allowed = [each for each in found if may_be_private or is_public(str(each[4][0]))]
    if not allowed:
        raise AddressRefused(
            f"{host} lies in a private or local network; an administrator can allow its registry", host=host
        )
    failure: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            opened(sock)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as error:
            with suppress(OSError):
                sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure or OSError(f"{host} has no address")
