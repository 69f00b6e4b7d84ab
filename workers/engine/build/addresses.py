"""Which addresses of the world a build may fetch from: public ones, and what the operator allowed.

A name is looked up once and the connection goes to the very address that was judged, so that a name that
means another thing a moment later gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from workers.errors import AddressRefused, FetchFailed

Allowed = Callable[[str], bool]
"""Of an address as text."""


def anything(address: str) -> bool:
    return True


def resolve(host: str, port: int, allowed: Allowed, url: str) -> str:
    """The address to connect to; ``url`` is for people. Raise ``FetchFailed``, ``AddressRefused``."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{url}: the host {host} cannot be found: {error}", url=url) from error
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    for address in addresses:
        if allowed(address):
            return address
    raise AddressRefused(
        f"{url}: {host} lies in a private or local network; builds may not fetch from there", host=host
    )
