"""A registry's client that costs next to nothing itself: one socket, no hashing, bytes thrown away."""

from __future__ import annotations

import socket
from typing import Any

BUFFER = 1 << 20


class Wire:
    """One connection, kept open. ``bearer`` is sent along if given."""

    def __init__(self, port: int, bearer: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"host: 127.0.0.1:{port}\r\n" + (f"authorization: Bearer {bearer}\r\n" if bearer else "")
        self._head += "accept: application/vnd.oci.image.manifest.v1+json\r\n"
        self._buffer = bytearray(BUFFER)

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: Any = b"", expect: int = 200) -> tuple[dict[str, str], int]:
        """The headers of the answer and the length of its body. Raise ``RuntimeError`` on another status."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n"
        if len(body):
            head += "content-type: application/octet-stream\r\n"
        self._socket.sendall(head.encode() + b"\r\n")
        if len(body):
            self._socket.sendall(body)
        status, headers, rest = self._read_head()
        size = self._skip(int(headers.get("content-length", 0)), rest) if method != "HEAD" else 0
        if status != expect:
            raise RuntimeError(f"{method} {path}: {status}, not {expect}: {headers}")
        return headers, size

    def _read_head(self) -> tuple[int, dict[str, str], int]:
        data = b""
        while b"\r\n\r\n" not in data:
            came = self._socket.recv(65536)
            if not came:
                raise RuntimeError("The registry closed the connection")
            data += came
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, len(rest)

    def _skip(self, length: int, have: int) -> int:
        while have < length:
            came = self._socket.recv_into(self._buffer)
            if not came:
                raise RuntimeError("The answer broke off")
            have += came
        return have

    def push(self, repository: str, digest: str, data: Any) -> None:
        """As docker does: POST, PATCH, PUT."""
        begun, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/", expect=202)
        sent, _ = self.ask("PATCH", _path(begun["location"]), data, expect=202)
        location = _path(sent["location"])
        mark = "&" if "?" in location else "?"
        self.ask("PUT", f"{location}{mark}digest={digest}", expect=201)

    def pull(self, repository: str, digest: str, size: int) -> None:
        _, came = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        if came != size:
            raise RuntimeError(f"{came} of {size} bytes came")


def _path(location: str) -> str:
    """Without scheme and host, which docker-registry gives."""
    return location if location.startswith("/") else "/" + location.split("/", 3)[3]
