"""Sockets for rtnetlink, in the host's network namespace or in a container's.

A batch of messages goes to the kernel in one ``send`` and is acknowledged within it, so a veth with
its address and route costs one millisecond, where a command per step costs ten times that.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from workers.engine.rtnetlink import (
    ACK,
    DONE,
    DUMP,
    ERROR,
    Link,
    Message,
    Route,
    decode_address,
    decode_link,
    decode_route,
    encode,
    get_addresses,
    get_link,
    get_links,
    get_loopback_of,
    get_route,
    refusal,
    split,
)

_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT_CHECK = 270, 10, 11, 12
_CLONE_NEWNET = 0x40000000


class NetlinkError(OSError):
    """The kernel refused a message; ``index`` says which of the batch."""

    def __init__(self, code: int, index: int, reason: str) -> None:
        super().__init__(code, reason or os.strerror(code))
        self.index = index


class Netlink:
    """An rtnetlink socket in this thread's network namespace, or in the one behind a descriptor.

    A socket belongs for good to the namespace it was made in, so the thread visits the other one
    only for that moment. Use an instance from one thread at a time.
    """

    def __init__(self, namespace: int | None = None) -> None:
        self._socket = _open() if namespace is None else _open_in(namespace)
        self._sequence = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def batch(self, messages: Sequence[Message]) -> None:
        """Send all in one go. The kernel tries every one; the first refusal is raised (``NetlinkError``)."""
        pending = {next(self._sequence): index for index in range(len(messages))}
        wire = b"".join(encode(messages[index], sequence, ACK) for sequence, index in pending.items())
        self._socket.send(wire)
        refused: list[NetlinkError] = []
        while pending:
            for kind, flags, sequence, body in split(self._socket.recv(65536)):
                index = pending.pop(sequence, None)
                if kind == ERROR and index is not None:
                    code, reason = refusal(flags, body)
                    if code:
                        refused.append(NetlinkError(code, index, reason))
        if refused:
            raise refused[0]

    def find_link(self, name: str) -> Link | None:
        body = self._find(get_link(name), errno.ENODEV)
        return None if body is None else decode_link(body)

    def find_route(self, address: str) -> Route | None:
        body = self._find(get_route(address), errno.ENETUNREACH, errno.EHOSTUNREACH)
        return None if body is None else decode_route(body)

    def links(self) -> list[Link]:
        return [decode_link(body) for body in self._dump(get_links())]

    def addresses(self, link: int) -> list[tuple[str, int]]:
        """IPv4 addresses of a link, each with its prefix length."""
        found = [decode_address(body) for body in self._dump(get_addresses(link))]
        return [(address, prefix) for index, address, prefix in found if index == link]

    def namespace_lives(self, namespace: int) -> bool:
        """False once the last process of that namespace is gone, even while the kernel still tidies up."""
        return self._find(get_loopback_of(namespace), errno.EINVAL) is not None

    def _find(self, request: Message, *absent: int) -> bytes | None:
        sequence = next(self._sequence)
        self._socket.send(encode(request, sequence, 0))
        while True:
            for kind, flags, answered, body in split(self._socket.recv(65536)):
                if answered != sequence:
                    continue
                if kind != ERROR:
                    return body
                code, reason = refusal(flags, body)
                if code in absent:
                    return None
                raise NetlinkError(code, 0, reason)

    def _dump(self, request: Message) -> list[bytes]:
        sequence = next(self._sequence)
        self._socket.send(encode(request, sequence, DUMP))
        found: list[bytes] = []
        while True:
            for kind, flags, answered, body in split(self._socket.recv(1 << 18)):
                if answered != sequence:
                    continue
                if kind == DONE:
                    return found
                if kind == ERROR:
                    code, reason = refusal(flags, body)
                    raise NetlinkError(code, 0, reason)
                found.append(body)


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
        opened.setsockopt(_SOL_NETLINK, option, 1)
    opened.bind((0, 0))
    return opened


def _open_in(namespace: int) -> socket.socket:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(namespace)
        try:
            return _open()
        finally:
            _return_to(own)
    finally:
        os.close(own)


_LIBC = ctypes.CDLL(None, use_errno=True)


def _setns(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Network namespace not entered: {os.strerror(code)}")


def _return_to(namespace: int) -> None:
    try:
        _setns(namespace)
    except OSError:
        # A worker's thread that stays inside a tenant's network would serve the next tenant from there.
        os.abort()
