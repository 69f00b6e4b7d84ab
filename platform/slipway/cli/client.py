"""HTTP to one server: JSON, pages, streams, uploads.

One connection a request; no redirect takes the token along.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from slipway.cli import API, VERSION
from slipway.cli.errors import CliError, Problem, Unreachable

TIMEOUT = 30.0
PIECE = 1 << 16
UPLOAD_PIECE = 1 << 20
JSON = "application/json"

Query = Mapping[str, Any]
_BROKEN = (OSError, http.client.HTTPException)


class Client:
    """Every method raises ``Problem`` for what the server refuses, ``Unreachable`` without an answer."""

    def __init__(self, url: str, token: str, *, timeout: float = TIMEOUT) -> None:
        parts = urlsplit(url)
        self.url = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._timeout = timeout

    # ------------------------------------------------------------------ JSON

    def get(self, path: str, query: Query | None = None, *, timeout: float | None = None) -> Any:
        return self._call("GET", path, query, timeout=timeout)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        timeout: float | None = None,
    ) -> Any:
        """``key`` lets the server tell a repeated request from a second one."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call("POST", path, body=body or {}, headers=headers, timeout=timeout)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("PUT", path, body=body)

    def delete(self, path: str, query: Query | None = None) -> Any:
        return self._call("DELETE", path, query)

    def items(self, path: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        query = {"limit": 200, **(query or {})}
        while True:
            page = self.get(path, query)
            yield from page["items"]
            if not page["next"]:
                return
            # The server writes whole addresses; of these only the cursor is news, and we stay where we are.
            query = {**query, "cursor": _cursor(page["next"])}

    # ------------------------------------------------------------------ bytes

    @contextmanager
    def stream(self, path: str, query: Query, *, accept: str, silence: float) -> Iterator[Iterator[bytes]]:
        """The answer's pieces as they come. Reading them raises ``Unreachable`` when it breaks off, or after
        ``silence`` seconds without one."""
        connection, answer = self._open("GET", path, query, headers={"Accept": accept}, timeout=silence)
        try:
            yield _pieces(answer)
        finally:
            connection.close()

    def upload(self, path: str, query: Query, file: IO[bytes], size: int | None, kind: str) -> Any:
        """Send ``file`` as the body; without a ``size`` in chunks."""
        headers = {"Content-Type": kind}
        if size is not None:
            headers["Content-Length"] = str(size)
        connection, answer = self._open("POST", path, query, body=file, headers=headers, timeout=600.0)
        try:
            return _json(answer)
        finally:
            connection.close()

    def look(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers by lower-case names, and body of a GET outside of the API; any status will do."""
        connection = self._connection(self._timeout)
        try:
            connection.request("GET", self._prefix + path, headers={"Accept": JSON})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, answer.read()
        except _BROKEN as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    # ------------------------------------------------------------------ one request

    def _call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": JSON, "Accept": JSON, **(headers or {})}
        connection, answer = self._open(method, path, query, body=payload, headers=given, timeout=timeout)
        try:
            return _json(answer)
        finally:
            connection.close()

    def _open(
        self,
        method: str,
        path: str,
        query: Query | None,
        *,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str],
        timeout: float | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer, its body still to be read; the caller closes the connection."""
        connection = self._connection(timeout or self._timeout)
        try:
            answer = self._exchange(connection, method, self._target(path, query), body, headers)
            if answer.status >= 300:
                raise _problem(answer)
        except _BROKEN as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        return connection, answer

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes | IO[bytes] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        known = {"Authorization": f"Bearer {self._token}", "User-Agent": f"slipway-cli/{VERSION}"}
        chunked = body is not None and not isinstance(body, bytes) and "Content-Length" not in headers
        given = {**known, **headers, **({"Transfer-Encoding": "chunked"} if chunked else {})}
        try:
            connection.request(method, target, body=body, headers=given, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            # Who refuses a large body answers before it is complete: that answer is the reason.
            if connection.sock is None:
                raise
        return connection.getresponse()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=timeout,
                blocksize=UPLOAD_PIECE,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout, blocksize=UPLOAD_PIECE)

    def _target(self, path: str, query: Query | None) -> str:
        given = {name: _value(value) for name, value in (query or {}).items() if value is not None}
        text = urlencode(given, doseq=True)
        return f"{self._prefix}{API}{path}" + (f"?{text}" if text else "")

    def _unreachable(self, error: Exception) -> CliError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return Unreachable(
                f"{self.url} shows a certificate that does not hold: {error.verify_message}.",
                "For an authority of your own set SSL_CERT_FILE to its certificate.",
            )
        return Unreachable(f"{self.url} does not answer: {reason_of(error)}.")


def at(*parts: str) -> str:
    """A path from its parts; what is in a part cannot become another one."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def reason_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it is silent"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).rstrip(".").lower()
    return "the connection closed before the answer was complete"


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            piece = answer.read1(PIECE)
        except _BROKEN as error:
            raise Unreachable(f"The answer broke off: {reason_of(error)}.") from error
        if not piece:
            return
        yield piece


def _value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _cursor(address: str) -> str:
    from urllib.parse import parse_qs

    return parse_qs(urlsplit(address).query)["cursor"][0]


def _json(answer: http.client.HTTPResponse) -> Any:
    text = answer.read()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise CliError(
            "The answer is no JSON; this is no Slipway, or something stands in between.",
            code="ANSWER_INVALID",
            hint="Check the address with `slipway contexts`.",
        ) from error


def _problem(answer: http.client.HTTPResponse) -> CliError:
    text = answer.read(PIECE)
    if 300 <= answer.status < 400:
        where = answer.getheader("Location", "elsewhere")
        return CliError(
            f"The server sends us on to {where}, where the token is not taken along.",
            code="REDIRECTED",
            hint="Sign in with the address that answers itself.",
        )
    try:
        document = json.loads(text)
        if isinstance(document, dict) and "code" in document:
            return Problem(answer.status, document)
    except ValueError:
        pass
    if answer.status in (502, 503, 504):
        return Unreachable(f"What stands before the server answered {answer.status}.")
    return Problem(answer.status, {"detail": f"The server answered {answer.status} {answer.reason}."})
