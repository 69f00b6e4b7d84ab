"""Which registries there are for us: our own, and others as far as the administrator lets them in. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from django.conf import settings

from workers.errors import RegistryNotAllowed
from workers.messages import RegistryAccess
from workers.oci.reference import Reference


@dataclass(frozen=True)
class Registries:
    """``hosts`` are written as in references, with a port where it is not the usual one."""

    own: tuple[str, ...]
    """Our own registry's hosts; the first is the one shown to people."""
    node: str
    """Under which of them nodes reach us."""
    node_plain_http: bool
    allowed: tuple[str, ...] = ()
    """Empty: all that are not denied. ``*.example.org`` is every host below."""
    denied: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    """May lie at private, loopback or link-local addresses."""
    plain_http: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fresh: timedelta = timedelta(hours=1)
    """So long a tag of another registry is not asked for again."""
    searched: tuple[str, ...] = ()

    @classmethod
    def of_settings(cls) -> Registries:
        node = settings.SLIPWAY_REGISTRY_NODE
        return cls(
            own=tuple(settings.SLIPWAY_REGISTRY_HOSTS),
            node=node.partition("://")[2],
            node_plain_http=node.startswith("http://"),
            allowed=tuple(settings.SLIPWAY_REGISTRIES_ALLOW),
            denied=tuple(settings.SLIPWAY_REGISTRIES_DENY),
            private=tuple(settings.SLIPWAY_REGISTRIES_PRIVATE),
            plain_http=tuple(settings.SLIPWAY_REGISTRIES_PLAIN_HTTP),
            mirrors=settings.SLIPWAY_REGISTRY_MIRRORS,
            fresh=timedelta(seconds=settings.SLIPWAY_UPSTREAM_FRESH_SECONDS),
            searched=tuple(settings.SLIPWAY_REGISTRIES_SEARCH),
        )

    def is_ours(self, reference: Reference) -> bool:
        return reference.registry in self.own or reference.registry == self.node

    def as_reached(self, reference: Reference) -> Reference:
        """With our registry named as nodes reach it."""
        return replace(reference, registry=self.node) if self.is_ours(reference) else reference

    def require_allowed(self, reference: Reference) -> None:
        """Raise ``RegistryNotAllowed``."""
        host = reference.registry
        if not self.is_allowed(host):
            raise RegistryNotAllowed(
                f"The administrators of this installation do not let images come from or go to {host}.",
                registry=host,
            )
        if _is_private_address(host) and not self.may_be_private(host):
            raise RegistryNotAllowed(
                f"{host} is an address of a private network. An administrator can allow it with "
                "SLIPWAY_REGISTRIES_PRIVATE.",
                registry=host,
            )

    def is_allowed(self, host: str) -> bool:
        return not _matches(host, self.denied) and (not self.allowed or _matches(host, self.allowed))

    def by_pattern(self) -> dict[str, RegistryAccess]:
        """For nodes: what holds for registries of which nothing more is said (``BuildImage.access``)."""
        found = {"*": RegistryAccess(denied=bool(self.allowed))}
        found |= {pattern: RegistryAccess() for pattern in self.allowed}
        return found | {pattern: RegistryAccess(denied=True) for pattern in self.denied}

    def may_be_private(self, host: str) -> bool:
        return _matches(host, self.private)

    def speaks_plain_http(self, host: str) -> bool:
        return _matches(host, self.plain_http)

    def mirrors_of(self, host: str) -> tuple[str, ...]:
        return tuple(self.mirrors.get(host, ()))


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    """``patterns`` without a port fit any."""
    bare = _bare(host)
    for pattern in patterns:
        given = host if _bare(pattern) != pattern else bare
        if pattern == "*" or given == pattern or (pattern[:2] == "*." and given.endswith(pattern[1:])):
            return True
    return False


def _bare(host: str) -> str:
    """Without the port."""
    head, colon, tail = host.rpartition(":")
    return head if colon and tail.isdigit() else host


def _is_private_address(host: str) -> bool:
    """Whether the name itself says so; where a name leads is seen by who connects."""
    bare = _bare(host).strip("[]").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(bare).is_global
    except ValueError:
        return False
