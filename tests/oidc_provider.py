"""A small OpenID Connect provider on the loopback: discovery, codes with PKCE, signed ID tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_ID = "one"


@dataclass
class Provider:
    client: str = "slipway"
    secret: str = "s3cret"
    issuer: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "17", "preferred_username": "sally"})
    """Whoever signs in next."""
    audience: str = "slipway"
    """What the ID tokens are made out to."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    access: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def jwks(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes on: nobody is asked anything here."""
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str]) -> dict[str, Any] | None:
        begun = self.codes.pop(asked.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
        good = (
            begun is not None
            and (asked.get("client_id"), asked.get("client_secret")) == (self.client, self.secret)
            and begun.get("code_challenge") == challenge.decode().rstrip("=")
            and begun.get("redirect_uri") == asked.get("redirect_uri")
        )
        if not good:
            self.problems.append(f"refused {sorted(asked)}")
            return None
        now, access = int(time.time()), secrets.token_urlsafe(8)
        self.access[access] = self.person
        claims = {"iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + 60, **self.person}
        signed = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": KEY_ID})
        return {"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": signed}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        url, provider = urlsplit(self.path), self.provider
        if url.path == "/authorize":
            self.send_response(302)
            asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self.send_header("Location", provider.authorize(asked))
            self.end_headers()
        elif url.path == "/userinfo":
            self._answer(provider.access.get(self.headers["Authorization"].removeprefix("Bearer ")))
        else:
            pages = {"/.well-known/openid-configuration": provider.discovery, "/jwks": provider.jwks}
            self._answer(pages[url.path]() if url.path in pages else None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(self.provider.token({name: values[-1] for name, values in parse_qs(body).items()}))

    def _answer(self, document: dict[str, Any] | None) -> None:
        body = json.dumps(document or {"error": "invalid_request"}).encode()
        self.send_response(200 if document else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The test's own requests are no news."""


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join(timeout=5)
