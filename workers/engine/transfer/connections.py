"""HTTP/1.1 for transfers: connections that are kept, checked addresses, redirects, an end at any moment."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urljoin, urlsplit

from workers import __version__
from workers.engine.transfer import addresses
from workers.errors import RegistryError

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 8
_PORTS = {"http": 80, "https": 443}
_SLICE = 256 << 10
_DRAINED = 64 << 10
"""Bytes of an unread answer worth reading to keep its connection."""


class Broken(Exception):
    """The connection failed or ended too early: the same request may succeed later."""


class Stopped(Exception):
    """Somebody wants the transfer ended."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try again."""

    connect: float = 15.0
    silence: float = 120.0
    """Seconds without a byte after which a connection counts as broken. A registry may need long to take a
    large blob for good."""
    crawl: float = 300.0
    """Seconds in which all layers of a pull together must get on by `downloads.STEP` bytes."""
    pauses: tuple[float, ...] = (0.3, 1.0, 3.0)
    """Seconds before each further attempt at a question; none is made after the last."""
    outages: tuple[float, ...] = (0.3, 1.0, 3.0, 8.0, 20.0)
    """The same for a blob that is under way: much was spent on it already."""


PATIENCE = Patience()


@dataclass(frozen=True)
class Origin:
    """Whom a connection is to: scheme, host, port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raise ``RegistryError`` on what is no address of a web server."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise RegistryError(f"{url[:200]!r} is no address a registry can be at") from error
        if not parts.hostname or "\n" in url or "\r" in url or parts.username is not None:
            raise RegistryError(f"{url[:200]!r} is no address a registry can be at")
        return cls(parts.scheme, parts.hostname, port)


def joined(base: str, target: str) -> str:
    """Where ``target`` leads, as ``base`` says it. Raise ``RegistryError``."""
    try:
        return urljoin(base, target)
    except ValueError as error:
        raise RegistryError(f"{target[:200]!r} is no address a registry can be at") from error


@dataclass(frozen=True)
class Policy:
    """Where connections may lead."""

    allow_private: bool = False
    plain_http: bool = False
    trusted: frozenset[Origin] = field(default_factory=frozenset)
    """Chosen by the administrator: may be private, and may speak plainly."""

    def require_allowed(self, origin: Origin) -> None:
        if origin.scheme != "https" and not self.plain_http and origin not in self.trusted:
            raise RegistryError(
                f"{origin.host} wants to be spoken to without encryption, which is not allowed for it",
                host=origin.host,
            )

    def may_be_private(self, origin: Origin) -> bool:
        return self.allow_private or origin in self.trusted


class Answer:
    """A response; its body is still to be read. Close it."""

    def __init__(self, url: str, response: http.client.HTTPResponse, done: Callable[[bool], None]) -> None:
        self.url, self.status, self.headers = url, response.status, response.headers
        self._response, self._done = response, done
        self._open = True

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes; b"" at the end, or where the connection was cut. Raise ``Broken``."""
        try:
            return self._response.read(count)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close(whole=False)
            raise Broken(_why(error)) from error

    def text(self, limit: int) -> bytes:
        """The body, of which more than ``limit`` bytes is an error; closes."""
        try:
            body = self.read(limit + 1)
            if len(body) > limit:
                raise RegistryError(f"{self.url} answered with more than {limit} bytes")
            if self._response.length:
                raise Broken("the connection ended within the answer")
            return body
        finally:
            self.close()

    def close(self, *, whole: bool = True) -> None:
        """Keep the connection if what is left of the answer is little. Repeatable."""
        if not self._open:
            return
        self._open = False
        if whole:
            with suppress(OSError, http.client.HTTPException, ValueError):
                if self._response.length is not None and self._response.length <= _DRAINED:
                    self._response.read()
        self._done(whole and self._response.isclosed() and not self._response.will_close)

    def location(self) -> str:
        """Raise ``RegistryError`` when the answer should lead on and does not say where."""
        found = self.headers.get("Location")
        if not found:
            raise RegistryError(f"{self.url} answered {self.status} without saying where to go on")
        return joined(self.url, found)

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """Any number of threads may use one. ``credentials`` gives the headers for an origin, and only for it."""

    def __init__(self, policy: Policy, patience: Patience) -> None:
        self.policy, self.patience = policy, patience
        self._idle: defaultdict[Origin, list[http.client.HTTPConnection]] = defaultdict(list)
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        credentials: Callable[[Origin], Mapping[str, str]],
        body: bytes | memoryview | None = None,
    ) -> Answer:
        """Follows redirects. Raise ``Broken``, ``AddressRefused``, ``RegistryError``, ``Stopped``."""
        for _ in range(_MAX_REDIRECTS):
            origin = Origin.of(url)
            self.policy.require_allowed(origin)
            answer = self._send(method, url, origin, {**headers, **credentials(origin)}, body)
            if answer.status not in _REDIRECTS or (method not in ("GET", "HEAD") and answer.status < 307):
                return answer
            with answer:
                url = answer.location()
        raise RegistryError(f"{url[:200]} leads from one address to the next without end")

    def pause(self, seconds: float) -> None:
        """Raise ``Stopped`` as soon as somebody wants that."""
        if self._stopped.wait(seconds):
            raise Stopped

    def require_wanted(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """Whatever is under way in other threads ends at once with ``Stopped`` or ``Broken``."""
        self._stopped.set()
        with self._lock:
            for sock in self._live:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No connection is left open."""
        with self._lock:
            connections = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    # ------------------------------------------------------------------ one exchange

    def _send(
        self,
        method: str,
        url: str,
        origin: Origin,
        headers: Mapping[str, str],
        body: bytes | memoryview | None,
    ) -> Answer:
        connection, is_kept = self._connection(origin)
        try:
            response = self._exchange(connection, method, url, headers, body)
        except Broken:
            # The other side may have ended a kept connection while it was idle.
            if not is_kept or method not in ("GET", "HEAD"):
                raise
            connection = self._new(origin)
            response = self._exchange(connection, method, url, headers, body)
        return Answer(url, response, lambda reusable: self._give_back(origin, connection, reusable))

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | memoryview | None,
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        common = {"User-Agent": f"slipway/{__version__}", "Accept-Encoding": "identity"}
        if body is not None:
            common["Content-Length"] = str(len(body))
        try:
            self.require_wanted()
            connection.request(method, target, body=_slices(body), headers={**common, **headers})
            return connection.getresponse()
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError | http.client.HTTPException | ValueError):
                raise
            self.require_wanted()
            raise Broken(_why(error)) from error

    def _connection(self, origin: Origin) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle[origin]:
                return self._idle[origin].pop(), True
        return self._new(origin), False

    def _new(self, origin: Origin) -> http.client.HTTPConnection:
        return _Connection(self, origin)

    def _give_back(self, origin: Origin, connection: http.client.HTTPConnection, reusable: bool) -> None:
        if not reusable:
            connection.close()
            return
        with self._lock:
            self._idle[origin].append(connection)

    def connect(self, origin: Origin) -> socket.socket:
        sock = addresses.connect(
            origin.host,
            origin.port,
            may_be_private=self.policy.may_be_private(origin),
            timeout=self.patience.connect,
            opened=self._watch,
        )
        sock.settimeout(self.patience.silence)
        return sock

    def _watch(self, sock: socket.socket) -> None:
        with self._lock:
            self._live = {each for each in self._live if each.fileno() >= 0}
            self._live.add(sock)
        self.require_wanted()

    def watch_secured(self, sock: socket.socket) -> None:
        self._watch(sock)


class _Connection(http.client.HTTPConnection):
    """Gets its socket from ``Client.connect``, however often it needs one."""

    def __init__(self, client: Client, origin: Origin) -> None:
        super().__init__(origin.host, origin.port)
        self._client, self._origin = client, origin
        if origin.scheme == "https":
            self.default_port = _PORTS["https"]  # of the Host header

    def connect(self) -> None:
        sock = self._client.connect(self._origin)
        if self._origin.scheme == "https":
            sock = _context().wrap_socket(sock, server_hostname=self._origin.host)
            self._client.watch_secured(sock)
        self.sock = sock


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _slices(body: bytes | memoryview | None) -> Iterator[memoryview] | None:
    """What is sent in one piece must be gone within the time of silence, however slow the line is."""
    if body is None:
        return None
    view = memoryview(body)
    return (view[at : at + _SLICE] for at in range(0, len(view), _SLICE))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
