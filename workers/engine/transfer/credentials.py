"""Being let in by a registry: basic authentication, and tokens from whom it names."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from workers.engine.transfer.connections import Broken, Client, Origin, joined
from workers.errors import RegistryDenied, RegistryError, RegistryLimited

_PARAMETER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_MAX_TOKEN = 1 << 20
_LIFETIME = 60.0
"""Seconds a token is good for when its maker does not say."""
_EARLY = 10.0
"""Seconds before its end at which a token is not begun with any more."""

Scopes = tuple[str, ...]


@dataclass(frozen=True)
class Challenge:
    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Challenge | None:
        """None for what is no challenge."""
        scheme, _, rest = text.strip().partition(" ")
        if not scheme:
            return None
        found: dict[str, str] = {}
        at = 0
        while match := _PARAMETER.match(rest, at):
            quoted, bare = match[2], match[3]
            found[match[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            at = match.end()
        return cls(scheme.lower(), found)


@dataclass(frozen=True)
class _Token:
    text: str
    good_until: float


class Credentials:
    """For one registry. Name and password go to it and to the token server it names, to nobody else."""

    def __init__(
        self,
        client: Client,
        base: str,
        username: str | None,
        password: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._base, self._clock = client, base, clock
        self._origin = Origin.of(base)
        self._basic: str | None = None
        if username is not None:
            pair = f"{username}:{password or ''}".encode()
            self._basic = "Basic " + base64.b64encode(pair).decode()
        self._username = username
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}
        self._lock = threading.Lock()

    def headers(self, scopes: Scopes, origin: Origin) -> dict[str, str]:
        """What is known to be wanted; nothing for another origin than the registry's."""
        if origin != self._origin or self._challenge is None:
            return {}
        if self._challenge.scheme == "basic":
            return {"Authorization": self._basic} if self._basic else {}
        return {"Authorization": f"Bearer {self._token(scopes)}"}

    def refused(self, header: str, scopes: Scopes, sent: str | None) -> bool:
        """The registry answered 401 to a request with ``sent``; whether it makes sense to ask again."""
        challenge = Challenge.parse(header)
        if challenge is None:
            return False
        with self._lock:
            known, self._challenge = self._challenge, challenge
            if challenge.scheme == "basic":
                return self._basic is not None and sent != self._basic
            if challenge.scheme != "bearer" or "realm" not in challenge.parameters:
                self._challenge = known
                return False
            held = self._tokens.get(scopes)
            if held is not None and sent == f"Bearer {held.text}":
                del self._tokens[scopes]  # expired or withdrawn on the way
        return True

    def _token(self, scopes: Scopes) -> str:
        with self._lock:
            held = self._tokens.get(scopes)
            if held is None or held.good_until <= self._clock():
                held = self._tokens[scopes] = self._fetch(scopes)
            return held.text

    def _fetch(self, scopes: Scopes) -> _Token:
        assert self._challenge is not None  # noqa: S101 - a token is fetched because of one
        parameters = self._challenge.parameters
        query = [("scope", scope) for scope in scopes]
        if "service" in parameters:
            query.insert(0, ("service", parameters["service"]))
        if self._username is not None:
            query.append(("account", self._username))
        realm = joined(self._base + "/", parameters["realm"])
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        server = Origin.of(realm)
        headers = {"Authorization": self._basic} if self._basic else {}
        started = self._clock()
        answer = self._client.request(
            "GET", url, headers={}, credentials=lambda origin: headers if origin == server else {}
        )
        status, body = answer.status, answer.text(_MAX_TOKEN)
        self._require_granted(status, server)
        return _parsed(body, started)

    def _require_granted(self, status: int, server: Origin) -> None:
        if status == 429:
            raise RegistryLimited(
                f"{server.host} gives no more tokens for a while; try again later", registry=self._origin.host
            )
        if status in (400, 401, 403, 404):
            raise RegistryDenied(
                f"{server.host} does not accept these credentials for {self._origin.host}"
                if self._basic
                else f"{self._origin.host} wants credentials: sign in to it first",
                registry=self._origin.host,
            )
        if status >= 500:
            raise Broken(f"the token server {server.host} answered {status}")
        if status != 200:
            raise RegistryError(f"The token server {server.host} answered {status}")


def _parsed(body: bytes, started: float) -> _Token:
    try:
        document = json.loads(body)
        text = document.get("token") or document["access_token"]
        lifetime = float(document.get("expires_in") or _LIFETIME)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError("The registry's token server answered with what is no token") from error
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise RegistryError("The registry's token server answered with what is no token")
    return _Token(text, started + max(lifetime - _EARLY, lifetime / 2))
