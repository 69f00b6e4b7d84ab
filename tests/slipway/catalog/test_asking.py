"""Questions to other registries, asked of a server on the loopback."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from slipway.catalog.asking import ANSWER_BYTES, Account, GuardedResolver, Refused, Registry
from slipway.catalog.registries import Registries
from slipway.catalog.search import search_upstream

ADA = Account("ada", "right")


@dataclass
class Fake:
    """A registry: how it asks who comes, and what it lists."""

    challenge: str = "bearer"
    hub: bool = False
    names: list[str] = field(default_factory=lambda: ["team/web", "library/busybox"])
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def knows(self, request: web.Request) -> bool:
        expected = base64.b64encode(b"ada:right").decode()
        return request.headers.get("Authorization") == f"Basic {expected}"

    async def root(self, request: web.Request) -> web.Response:
        match self.challenge:
            case "none":
                return web.Response()
            case "basic":
                if self.knows(request):
                    return web.Response()
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="here"'})
            case "bearer":
                realm = f'Bearer realm="http://{self.host}/token",service="here"'
                return web.Response(status=401, headers={"WWW-Authenticate": realm})
            case "odd":
                return web.Response(status=401, headers={"WWW-Authenticate": "Digest x=1"})
            case "long":
                return web.Response(body=bytes(ANSWER_BYTES + 1))
            case "moved":
                raise web.HTTPFound("http://10.0.0.1/")
        return web.Response(status=500)

    async def token(self, request: web.Request) -> web.Response:
        assert request.query["service"] == "here"
        return web.json_response({"token": "t"}, status=200 if self.knows(request) else 401)

    async def search(self, request: web.Request) -> web.Response:
        if not self.hub:
            return web.Response(status=404)
        found = {"name": "library/busybox", "description": "small", "star_count": 5, "is_official": True}
        return web.json_response({"results": [found]})

    async def catalog(self, request: web.Request) -> web.Response:
        return web.json_response({"repositories": self.names})


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    fake = Fake()
    app = web.Application()
    app.add_routes(
        [
            web.get("/v2/", fake.root),
            web.get("/token", fake.token),
            web.get("/v1/search", fake.search),
            web.get("/v2/_catalog", fake.catalog),
        ]
    )
    async with TestServer(app) as server:
        fake.port = server.port or 0
        yield fake


def registries(**fields: Any) -> Registries:
    known = Registries(own=("localhost:8000",), node="127.0.0.1:8000", node_plain_http=True)
    return replace(known, private=("127.0.0.1",), plain_http=("127.0.0.1",), **fields)


@pytest.mark.parametrize("challenge", ["none", "basic", "bearer"])
async def test_a_good_account_is_let_in(fake: Fake, challenge: str) -> None:
    fake.challenge = challenge
    await Registry(fake.host, registries(), ADA).sign_in()


@pytest.mark.parametrize(
    ("challenge", "account", "told"),
    [
        ("basic", Account("ada", "wrong"), "does not accept"),
        ("bearer", Account("ada", "wrong"), "does not accept"),
        ("odd", ADA, "unknown way"),
        ("broken", ADA, "answered 500"),
        ("moved", ADA, "answered 302"),
        ("long", ADA, "more than 1024 KiB"),
    ],
)
async def test_whatever_else_is_said_in_a_sentence(
    fake: Fake, challenge: str, account: Account, told: str
) -> None:
    fake.challenge = challenge
    with pytest.raises(Refused, match=told):
        await Registry(fake.host, registries(), account).sign_in()


async def test_a_server_that_is_away_is_told_as_such() -> None:
    with pytest.raises(Refused, match="cannot be reached"):
        await Registry("127.0.0.1:1", registries(), ADA).sign_in()


async def test_private_addresses_are_not_asked_unless_allowed(fake: Fake) -> None:
    strict = replace(registries(), private=())
    with pytest.raises(Refused, match="private network"):
        await Registry(fake.host, strict, ADA).sign_in()
    with pytest.raises(Refused, match="private network"):
        await Registry(f"localhost:{fake.port}", replace(strict, plain_http=("localhost",)), ADA).sign_in()
    with pytest.raises(Refused, match="private network"):
        await GuardedResolver(strict).resolve("localhost", 80)


class Resolves(AbstractResolver):
    """To the one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self.address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("address", ["64:ff9b::7f00:1", "224.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::"])
async def test_a_private_address_in_disguise_is_private(address: str) -> None:
    """As it is for nodes: ``workers.addresses`` says so for both."""
    strict = replace(registries(), private=())
    with pytest.raises(Refused, match="private network"):
        await GuardedResolver(strict, Resolves(address)).resolve("example.org", 443)
    written = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused, match="private network"):
        await Registry(f"{written}:443", strict, ADA).sign_in()


async def test_a_secret_is_not_sent_in_the_clear_by_a_registry_with_tls() -> None:
    registry = Registry("example.org", registries(), ADA)
    async with registry._session() as session:
        with pytest.raises(Refused, match="unencrypted"):
            await registry._answer(session, 'Bearer realm="http://example.org/token"')


async def test_a_registry_is_searched_by_its_search_or_by_its_list(fake: Fake) -> None:
    asked = registries(searched=(fake.host, "127.0.0.1:1"))
    listed = await search_upstream("web", asked)
    assert [found.reference for found in listed.items] == [f"{fake.host}/team/web"]
    assert ["cannot be reached" in failure for failure in listed.failures] == [True]
    fake.hub = True
    [found] = (await search_upstream("busy", registries(searched=(fake.host,)))).items
    assert (found.reference, found.description, found.stars) == (f"{fake.host}/busybox", "small", 5)
    assert found.official
