"""A registry's client that keeps its connection: what an answer leaves on the wire breaks the next one."""

from __future__ import annotations

import http.client
from collections.abc import Sequence

from tests.registry_client import RegistryClient, Reply

SECONDS = 60


class WireClient(RegistryClient):
    """As ``RegistryClient``, of a registry at ``host:port``."""

    def __init__(self, registry: str, user: str = "", password: str = "", bearer: str = "") -> None:
        super().__init__(registry, user, password, bearer)
        self._connection: http.client.HTTPConnection | None = None
        self._others: list[WireClient] = []
        self.connections = 0
        """How many there were: another one only after an answer that ended the one before."""

    def call(
        self,
        method: str,
        address: str,
        body: bytes | Sequence[bytes] = b"",
        *,
        breaks_off: bool = False,
        **headers: str,
    ) -> Reply:
        assert not breaks_off
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.registry, timeout=SECONDS)
            self.connections += 1
        given = self._authorization() | {name.replace("_", "-"): value for name, value in headers.items()}
        pieces = None if isinstance(body, bytes) else iter(body)
        self._connection.request(
            method, address, body=pieces or body, headers=given, encode_chunked=pieces is not None
        )
        with self._connection.getresponse() as answer:
            reply = Reply(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
            ends = answer.will_close
        if ends:
            self.close()
        return reply

    def nobody(self) -> WireClient:
        made = WireClient(self.registry)
        self._others.append(made)
        return made

    def close(self) -> None:
        for other in self._others:
            other.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
