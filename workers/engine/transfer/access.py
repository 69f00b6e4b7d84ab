"""From what the platform says about a registry to repositories that can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workers.engine.transfer.connections import Client, Origin, Patience, Policy
from workers.engine.transfer.credentials import Credentials
from workers.engine.transfer.registry import Repository, base_of
from workers.errors import RegistryNotAllowed
from workers.messages import RegistryAccess
from workers.oci.reference import Reference


def require_allowed(reference: Reference, access: RegistryAccess) -> None:
    """Raise ``RegistryNotAllowed``."""
    if access.denied:
        raise RegistryNotAllowed(
            f"The administrators of this installation do not let images come from or go to "
            f"{reference.registry}.",
            registry=reference.registry,
        )


@contextmanager
def opened(access: RegistryAccess, patience: Patience) -> Iterator[Client]:
    """A client that goes where ``access`` lets it; nothing of it is left at the end."""
    trusted = frozenset(Origin.of(mirror) for mirror in access.mirrors)
    client = Client(Policy(access.allow_private, access.plain_http, trusted), patience)
    try:
        yield client
    finally:
        client.close()


def repository(
    client: Client,
    reference: Reference,
    access: RegistryAccess,
    *,
    actions: str = "pull",
    also: tuple[str, ...] = (),
) -> Repository:
    base = base_of(reference.registry, plain_http=access.plain_http)
    credentials = Credentials(client, base, access.username, access.password)
    return Repository(client, base, reference.repository, credentials, actions, also)


def mirrors(client: Client, reference: Reference, access: RegistryAccess) -> list[Repository]:
    """Asked without credentials."""
    return [
        Repository(client, mirror.rstrip("/"), reference.repository, Credentials(client, mirror, None, None))
        for mirror in access.mirrors
    ]
