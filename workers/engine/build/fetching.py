"""Files of ADD that lie somewhere in the world, fetched by HTTP.

What was fetched is kept for the project and asked for again by its ETag; with a checksum it need not be
asked for at all. No size is trusted before it was counted.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import json
import os
import secrets
import shutil
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

from workers.content import full_disk
from workers.engine.build import addresses, interruptible, mounts
from workers.engine.build.addresses import Allowed
from workers.engine.build.interruptible import Check, Connection
from workers.errors import BuildExceeded, BuildFailed, FetchFailed

MAX_BYTES = 8 << 30
_TIMEOUT = 30.0
_REDIRECTS = 10
_BLOCK = 256 << 10
_AGENT = "slipway-build"
_MOVED = (301, 302, 303, 307, 308)
_META = "meta.json"

Report = Callable[[int, int], None]
"""Bytes so far, bytes in all (0: unknown). May raise to end it."""


@dataclass(frozen=True)
class Fetched:
    url: str
    sha256: str
    etag: str = ""
    last_modified: str = ""

    @property
    def mtime(self) -> float | None:
        try:
            return email.utils.parsedate_to_datetime(self.last_modified).timestamp()
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class _Kept:
    fetched: Fetched
    body: BinaryIO
    """Open: another build may put a newer one in its place at any moment."""


class Fetcher:
    """For one project. Safe to share between threads."""

    def __init__(self, home: Callable[[str], Path], allowed: Callable[[str], Allowed]) -> None:
        self._home, self._allowed = home, allowed
        self.used: dict[str, str] = {}
        """URL to the sha256 of what it gave, for the provenance."""

    def fetch(self, url: str, checksum: str | None, target: Path, report: Report, check: Check) -> Fetched:
        """The file is at ``target``. ``check`` is asked all along, and may raise to end it.

        Raise ``FetchFailed``, ``BuildExceeded``, ``BuildFailed`` (checksum).
        """
        wanted = _wanted(checksum, url)
        home = self._home(hashlib.sha256(url.encode()).hexdigest())
        with ExitStack() as held:
            held.callback(os.close, mounts.hold(home))
            os.utime(home)
            kept = _known(home, held)
            if kept is None or wanted is None or kept.fetched.sha256 != wanted:
                kept = self._ask(url, home, kept, report, check, held)
            _require(kept.fetched, wanted, url)
            _hand_out(kept, target)
        self.used[url] = kept.fetched.sha256
        return kept.fetched

    def _ask(
        self, url: str, home: Path, kept: _Kept | None, report: Report, check: Check, held: ExitStack
    ) -> _Kept:
        headers = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if kept is not None and kept.fetched.etag:
            headers["If-None-Match"] = kept.fetched.etag
        elif kept is not None and kept.fetched.last_modified:
            headers["If-Modified-Since"] = kept.fetched.last_modified
        place = url
        for _ in range(_REDIRECTS):
            connection, response = self._request(place, headers, url, check)
            try:
                if response.status in _MOVED and response.headers.get("Location"):
                    place = urljoin(place, response.headers["Location"])
                    continue
                if response.status == 304 and kept is not None:
                    return kept
                if response.status != 200:
                    raise FetchFailed(
                        f"{url}: the server answered {response.status} {response.reason}", url=url
                    )
                return _keep(url, home, response, report, held)
            finally:
                response.close()
                connection.close()
        raise FetchFailed(f"{url}: more than {_REDIRECTS} redirects", url=url)

    def _request(
        self, place: str, headers: Mapping[str, str], url: str, check: Check
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(place)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchFailed(f"{url}: only http and https can be fetched, not {place[:200]}", url=url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise FetchFailed(f"{url}: {error}", url=url) from error
        host, allowed = parts.hostname, self._allowed(parts.hostname)
        address = interruptible.answered(lambda: addresses.resolve(host, port, allowed, url), check)
        connection = http.client.HTTPConnection(host, port)
        try:
            connection.sock = cast(Any, _connected(address, port, parts.scheme, host, check))
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            authority = parts.netloc.rpartition("@")[2]
            connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": authority, **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection, connection.getresponse()
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError | http.client.HTTPException | ValueError):
                raise
            raise FetchFailed(f"{url}: {_said(error)}", url=url) from error


def _connected(address: str, port: int, scheme: str, host: str, check: Check) -> Connection:
    connection = interruptible.connect(address, port, _TIMEOUT, check)
    try:
        if scheme == "https":
            connection.secure(ssl.create_default_context(), host)
    except BaseException:
        connection.close()
        raise
    return connection


def _keep(url: str, home: Path, response: http.client.HTTPResponse, report: Report, held: ExitStack) -> _Kept:
    total = response.length or 0
    aside = home / f".{secrets.token_hex(8)}"
    try:
        sha256 = _receive(url, response, aside, total, report)
        fetched = Fetched(
            url, sha256, response.headers.get("ETag") or "", response.headers.get("Last-Modified") or ""
        )
        body = held.enter_context(aside.open("rb"))
        aside.rename(home / sha256)
    finally:
        aside.unlink(missing_ok=True)
    old = _known(home, held)
    note = home / f".{secrets.token_hex(8)}"
    note.write_text(json.dumps(asdict(fetched)))
    note.rename(home / _META)
    if old is not None and old.fetched.sha256 != sha256:
        (home / old.fetched.sha256).unlink(missing_ok=True)
    return _Kept(fetched, body)


def _receive(url: str, response: http.client.HTTPResponse, target: Path, total: int, report: Report) -> str:
    digest, size = hashlib.sha256(), 0
    with full_disk(target), target.open("xb") as file:
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise FetchFailed(
                    f"{url}: the connection was lost after {size} bytes: {_said(error)}", url=url
                ) from error
            if not block:
                break
            size += len(block)
            if max(size, total) > MAX_BYTES:
                raise BuildExceeded(f"{url} has more than {MAX_BYTES >> 30} GiB", url=url, limit="download")
            digest.update(block)
            file.write(block)
            report(size, total)
    if total and size != total:
        raise FetchFailed(f"{url}: the connection was lost after {size} of {total} bytes", url=url)
    return digest.hexdigest()


def _wanted(checksum: str | None, url: str) -> str | None:
    if checksum is None:
        return None
    algorithm, _, digits = checksum.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise BuildFailed(f"{url}: the checksum {checksum[:100]!r} is no sha256:<64 hex digits>", url=url)
    return digits


def _require(fetched: Fetched, wanted: str | None, url: str) -> None:
    if wanted is not None and fetched.sha256 != wanted:
        raise BuildFailed(
            f"{url}: the checksum is sha256:{fetched.sha256}, not sha256:{wanted} as the Dockerfile says",
            url=url,
        )


def _known(home: Path, held: ExitStack) -> _Kept | None:
    with suppress(FileNotFoundError, ValueError, TypeError):
        known = Fetched(**json.loads((home / _META).read_text()))
        return _Kept(known, held.enter_context((home / known.sha256).open("rb")))
    return None


def _hand_out(kept: _Kept, target: Path) -> None:
    """A copy: its mode and time are the build's to set."""
    with full_disk(target):
        shutil.copyfile(f"/proc/self/fd/{kept.body.fileno()}", target)  # also when its name is gone
    target.chmod(0o600)
    if (mtime := kept.fetched.mtime) is not None:
        os.utime(target, (mtime, mtime))


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {_TIMEOUT:g} s"
    return str(cast(object, error)) or type(error).__name__
