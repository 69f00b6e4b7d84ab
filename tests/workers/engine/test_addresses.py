"""Which addresses are for everybody, and what a challenge says."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from workers.addresses import is_public
from workers.engine.transfer import addresses
from workers.engine.transfer.connections import Origin, Policy
from workers.engine.transfer.credentials import Challenge
from workers.errors import AddressRefused, RegistryError


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1%eth0",
        "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2002:a00:1::", "2001:0:7f00:1:0:0:f5ff:fffe", "2001:db8::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_for_everybody(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_that_is(address: str) -> None:
    assert is_public(address)


def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second answer, for whoever would look again, leads inside."""
    answers = iter(["203.0.113.0", "127.0.0.1"])
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "203.0.113.0")
    looked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        looked.append(next(answers))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (looked[-1], port))]

    connected: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connected.append(address))
    addresses.connect("rebind.example", 443, may_be_private=False, timeout=1, opened=lambda _: None).close()
    assert connected == [("203.0.113.0", 443)]
    with pytest.raises(AddressRefused):
        addresses.connect("rebind.example", 443, may_be_private=False, timeout=1, opened=lambda _: None)


def test_the_address_of_a_private_name_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.20.30.40", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(AddressRefused) as refused:
        addresses.connect("inside.example", 443, may_be_private=False, timeout=1, opened=lambda _: None)
    assert "10.20" not in str(refused.value)


def test_plain_http_is_for_whom_the_administrator_says_so() -> None:
    mirror = Origin.of("http://mirror.example")
    policy = Policy(trusted=frozenset({mirror}))
    policy.require_allowed(mirror)
    policy.require_allowed(Origin.of("https://example.org"))
    for url in ("http://example.org", "http://mirror.example:81"):
        with pytest.raises(RegistryError, match="without encryption"):
            policy.require_allowed(Origin.of(url))
    assert policy.may_be_private(mirror)
    assert not policy.may_be_private(Origin.of("https://mirror.example"))


@pytest.mark.parametrize(
    "url", ["", "/v2/", "ftp://a", "https://", "https://u:p@a", "https://a:x", "https://a\n.b"]
)
def test_what_is_no_address_of_a_registry(url: str) -> None:
    with pytest.raises(RegistryError):
        Origin.of(url)


def test_challenges_are_read_as_registries_write_them() -> None:
    text = (
        'Bearer realm="https://auth.example/t?a=b,c",service="a \\"quoted\\" name",'
        ' scope="x:pull,push",error=x'
    )
    challenge = Challenge.parse(text)
    assert challenge is not None
    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.example/t?a=b,c",
        "service": 'a "quoted" name',
        "scope": "x:pull,push",
        "error": "x",
    }
    assert Challenge.parse("") is None
    assert Challenge.parse("Basic") == Challenge("basic", {})
