"""One request to the registry, parsed as far as its address and headers go."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from django.conf import settings
from django.http.request import validate_host

from slipway.serving import FILES, Files

T = TypeVar("T")

_ROUTES = {
    "manifest": re.compile(r"/v2/(?P<name>.+)/manifests/(?P<argument>[^/]+)"),
    "upload-start": re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?"),
    "upload": re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<argument>[^/]+)"),
    "blob": re.compile(r"/v2/(?P<name>.+)/blobs/(?P<argument>[^/]+)"),
    "tags": re.compile(r"/v2/(?P<name>.+)/tags/list"),
    "referrers": re.compile(r"/v2/(?P<name>.+)/referrers/(?P<argument>[^/]+)"),
    "catalog": re.compile(r"/v2/_catalog"),
    "base": re.compile(r"/v2/?"),
    "token": re.compile(r"/auth/token"),
}


class Run(Protocol):
    """Calls a function where the database may be used; ``writes`` if it surely writes.

    ``together``: it is one transaction, which may become part of one with others.
    """

    def __call__(
        self, function: Callable[[], T], /, *, writes: bool = False, together: bool = False
    ) -> Awaitable[T]: ...


@dataclass
class Call:
    method: str
    path: str
    route: str
    """A name of ``_ROUTES``; empty if there is nothing at the path."""
    name: str
    """Path of the repository, as given."""
    argument: str
    """The digest, reference or upload."""
    headers: dict[bytes, bytes]
    query: list[tuple[str, str]]
    origin: str
    base: str
    """``scheme://host``, as the client reaches us; empty if it gave no host we serve."""
    receive: ASGIReceiveCallable
    send: ASGISendCallable
    files: Files | None
    """For sending files as they lie in memory, where the server can."""

    @classmethod
    def parse(cls, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Call:
        route, name, argument = _route(scope["path"])
        headers = dict(scope["headers"])
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=scope["path"],
            route=route,
            name=name,
            argument=argument,
            headers=headers,
            query=parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            origin=client[0] if client else "",
            base=_base(headers, scope.get("scheme", "http")),
            receive=receive,
            send=send,
            files=scope.get("extensions", {}).get(FILES),
        )

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1").strip()

    def parameter(self, name: str) -> str:
        return next((value for given, value in self.query if given == name), "")

    def parameters(self, name: str) -> list[str]:
        return [value for given, value in self.query if given == name]

    @property
    def length(self) -> int | None:
        """Of the body; None if the client does not say."""
        text = self.headers.get(b"content-length", b"")
        if text.isdigit() and len(text) < 19:
            return int(text)
        return None if b"transfer-encoding" in self.headers else 0

    @property
    def host(self) -> str:
        return self.base.partition("://")[2]


def _route(path: str) -> tuple[str, str, str]:
    for route, pattern in _ROUTES.items():
        if match := pattern.fullmatch(path):
            found = match.groupdict()
            return route, found.get("name") or "", found.get("argument") or ""
    return "", "", ""


def _base(headers: dict[bytes, bytes], scheme: str) -> str:
    host = headers.get(b"host", b"").decode("latin-1")
    if not host or not _is_ours(host, tuple(settings.ALLOWED_HOSTS)):
        return ""
    if settings.SLIPWAY_TLS:
        scheme = headers.get(b"x-forwarded-proto", b"https").decode("latin-1")
    return f"{scheme}://{host}"


@lru_cache(maxsize=64)
def _is_ours(host: str, hosts: tuple[str, ...]) -> bool:
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    return validate_host(name.lower(), hosts)
