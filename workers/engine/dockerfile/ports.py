"""``EXPOSE``'s ports: ``80``, ``53/udp``, ``8000-8010``. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from workers.engine.dockerfile.errors import Mistake

_PROTOCOLS = ("tcp", "udp", "sctp")
_HIGHEST = 65535


@dataclass(frozen=True)
class Ports:
    ports: tuple[str, ...]
    """``80/tcp``."""
    odd_casing: bool
    """The protocol is not in lower case."""
    mapping: bool
    """An address or a port of the host stands before, which means nothing."""


def parse_ports(text: str) -> Ports:
    """Raise ``Mistake``."""
    front, _, port = text.rpartition(":")
    address, _, host = front.rpartition(":")
    numbers, slash, protocol = port.partition("/")
    if protocol.lower() not in (*_PROTOCOLS, ""):
        raise Mistake(f"{protocol[:20]!r} is no protocol; tcp, udp or sctp was expected", text)
    first, last = _range(numbers, text)
    if host:
        low, high = _range(host, text)
        if high - low != last - first and first != last:
            raise Mistake(f"{text[:40]!r} maps ranges of different lengths", text)
    if address:
        _check_address(address, text)
    protocol = protocol if slash and protocol else "tcp"
    return Ports(
        tuple(f"{number}/{protocol.lower()}" for number in range(first, last + 1)),
        protocol != protocol.lower(),
        bool(front),
    )


def _range(text: str, near: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    first, last = _number(low, near), _number(high if dash else low, near)
    if last < first:
        raise Mistake(f"the ports {text[:40]!r} go backwards", near)
    return first, last


def _number(text: str, near: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text[:9]) > _HIGHEST:
        raise Mistake(f"{text[:40]!r} is no port; a number from 0 to {_HIGHEST} was expected", near)
    return int(text[:9])


def _check_address(text: str, near: str) -> None:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise Mistake(f"{text[:60]!r} is no IP address", near) from None
