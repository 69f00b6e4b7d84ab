"""Which pages may open a socket: those of the same host and port."""

from __future__ import annotations

import pytest

from slipway.console import socket as module


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://cloud.example.org", "cloud.example.org", True),
        ("https://Cloud.example.org:443", "cloud.example.org", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://localhost:8001", "localhost:8000", False),
        ("http://localhost", "localhost:8000", False),
        ("https://evil.example.org", "cloud.example.org", False),
        ("http://cloud.example.org:99999", "cloud.example.org", False),
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
        ("", "", False),
    ],
)
def test_only_a_page_of_the_same_host_and_port_is_ours(origin: str, host: str, is_own: bool) -> None:
    scope = {"headers": [(b"host", host.encode()), (b"origin", origin.encode())]}
    assert module.is_own_page(scope) is is_own
