"""Which addresses a fetch on a tenant's behalf may connect to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from workers.addresses import is_public
from workers.errors import AddressRefused


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
