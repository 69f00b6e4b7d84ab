"""The few questions the platform itself asks other registries: whether an account opens, what is found.

Asked on a tenant's behalf, so private addresses are refused unless the administrator allows the host, no
redirect is followed, and answers are cut off at a size.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from slipway.catalog.registries import Registries
from workers.addresses import is_public

SECONDS = 10.0
ANSWER_BYTES = 1 << 20
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


class Refused(Exception):
    """The registry said no, or was not asked; the text is for people."""


@dataclass(frozen=True)
class Account:
    username: str
    secret: str

    @property
    def basic(self) -> dict[str, str]:
        """The header that says so."""
        pair = f"{self.username}:{self.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


class GuardedResolver(AbstractResolver):
    """Resolves only to addresses of the public network, but for hosts that may lie elsewhere."""

    def __init__(self, registries: Registries, inner: AbstractResolver | None = None) -> None:
        self._registries = registries
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._registries.may_be_private(host) or self._registries.may_be_private(f"{host}:{port}"):
            return found
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise Refused(f"{host} lies in a private network, which is not allowed here")
        return public

    async def close(self) -> None:
        await self._inner.close()


class Registry:
    """One registry, asked by ``account`` or by nobody. Every method raises ``Refused``."""

    def __init__(self, host: str, registries: Registries, account: Account | None = None) -> None:
        self._host = host
        self._registries = registries
        self._account = account

    async def sign_in(self) -> None:
        """Return when the registry lets the account in."""
        async with self._session() as session:
            status, headers, _ = await self._get(session, f"{self.base}/v2/")
            if status == 200:
                return  # it asks nobody; there is nothing to be wrong with the account
            if status != 401:
                raise Refused(f"{self._host} answered {status} to GET /v2/; it seems to be no registry")
            await self._answer(session, headers.get("WWW-Authenticate", ""))

    async def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Docker Hub's search, or what fits of the catalog a registry lists."""
        async with self._session() as session:
            address = f"{self._search_base}/v1/search"
            status, _, body = await self._get(session, address, {"q": query, "n": str(limit)})
            if status == 200:
                results = _json(body).get("results")
                return (
                    [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []
                )
            status, _, body = await self._get(session, f"{self.base}/v2/_catalog", {"n": "1000"})
            if status != 200:
                raise Refused(f"{self._host} cannot be searched: it answered {status}")
            names = _json(body).get("repositories")
            fitting = [name for name in names or [] if isinstance(name, str) and query.lower() in name]
            return [{"name": name, "description": ""} for name in fitting[:limit]]

    # ------------------------------------------------------------------ the connection

    @property
    def base(self) -> str:
        scheme = "http" if self._registries.speaks_plain_http(self._host) else "https"
        return f"{scheme}://{_HUB_HOST if self._host == _HUB else self._host}"

    @property
    def _search_base(self) -> str:
        return "https://index.docker.io" if self._host == _HUB else self.base

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=GuardedResolver(self._registries), use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            headers={"User-Agent": "slipway"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _get(
        self,
        session: aiohttp.ClientSession,
        url: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._require_public(url)
        try:
            async with session.get(url, params=query, headers=headers, allow_redirects=False) as answer:
                return answer.status, answer.headers, await self._read(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            told = str(error) or "it is silent"
            raise Refused(f"{self._host} cannot be reached: {told}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > ANSWER_BYTES:
                raise Refused(f"{self._host} answered with more than {ANSWER_BYTES >> 10} KiB")
        return bytes(body)

    def _require_public(self, url: str) -> None:
        """Addresses written as numbers are never resolved."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            allowed = is_public(host)
        except ValueError:
            return
        if not allowed and not self._registries.may_be_private(parts.netloc):
            raise Refused(f"{host} lies in a private network, which is not allowed here")

    async def _answer(self, session: aiohttp.ClientSession, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        basic = self._account.basic if self._account else None
        if scheme.lower() == "basic":
            status, _, _ = await self._get(session, f"{self.base}/v2/", headers=basic)
        elif scheme.lower() == "bearer" and "realm" in given:
            if self.base.startswith("https:") and not given["realm"].startswith("https:"):
                raise Refused(f"{self._host} wants the secret sent unencrypted, to {given['realm'][:200]}")
            query = {"account": self._account.username} if self._account else {}
            if "service" in given:
                query["service"] = given["service"]
            status, _, _ = await self._get(session, given["realm"], query, basic)
        else:
            raise Refused(f"{self._host} asks for an unknown way to sign in ({scheme or 'none'})")
        if status in (401, 403):
            raise Refused(f"{self._host} does not accept this name and secret")
        if status != 200:
            raise Refused(f"{self._host} answered {status} when asked to sign in")


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
