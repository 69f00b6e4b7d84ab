"""What the registry answers: a status, headers, and a body in memory or read from a blob."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slipway.blobs.store import Reader

VERSION = (b"docker-distribution-api-version", b"registry/2.0")


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reader: Reader | None = None
    """A blob to send instead of ``body``, from ``first`` on, ``length`` bytes; closed afterwards."""
    first: int = 0
    length: int = 0
    leaves_body: bool = False
    """The request's body was not read to its end: the connection ends with the answer."""
    after: Callable[[], None] | None = None
    """To be called once the answer was sent."""

    def start(self) -> Any:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
        ]
        if "Content-Length" not in self.headers and self.status not in (204, 304):
            length = self.length if self.reader else len(self.body)
            headers.append((b"content-length", str(length).encode()))
        if self.leaves_body:
            headers.append((b"connection", b"close"))
        headers += [VERSION, (b"x-content-type-options", b"nosniff")]
        return {"type": "http.response.start", "status": self.status, "headers": headers}


def document(status: int, body: Any, media_type: str = "application/json", **headers: str) -> Answer:
    # Unescaped: what was cut to a size by the size of its parts keeps it.
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": media_type, **named}, text)
