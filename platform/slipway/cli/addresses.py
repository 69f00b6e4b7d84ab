"""The address of a server, as people type it."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from slipway.cli.errors import Misused


def parse_url(text: str) -> str:
    """Scheme, host, perhaps port and path. Without a scheme it is https, but http for this machine."""
    text = text.strip()
    if "://" not in text:
        text = f"{'http' if is_loopback(urlsplit(f'//{text}').hostname or '') else 'https'}://{text}"
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise Misused(f"{text[:100]!r} is no address of a server; https://slipway.example.org is one.")
    if parts.username or parts.query or parts.fragment or not text.isascii() or " " in text:
        raise Misused(f"{text[:100]!r}: only a host, perhaps a port and a path belong into the address.")
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_exposed(url: str) -> bool:
    """Whether a token sent to ``url`` crosses a network in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def name_of(url: str) -> str:
    """What a context is called when nobody says."""
    parts = urlsplit(url)
    host = (parts.hostname or "").replace(":", "-")
    return f"{host}-{parts.port}" if parts.port else host
