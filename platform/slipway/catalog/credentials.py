"""A project's accounts at other registries. Secrets go in and come out again only towards a node."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from slipway.accounts import sealing
from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotFound
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.models import RegistryCredential
from slipway.catalog.registries import Registries
from slipway.projects.models import Project
from workers.errors import InvalidReference
from workers.oci.reference import Reference

SECRET_MAX = 8192
PER_PROJECT_MAX = 100
_USERNAME = re.compile(r"[^\s:\x00-\x1f\x7f]{1,255}")


def parse_host(text: str) -> str:
    """A registry's host as references write it, from what people type. Raise ``InvalidRequest``."""
    typed = text.strip()
    try:
        host = urlsplit(typed).netloc if "://" in typed else typed.partition("/")[0]
    except ValueError as error:  # brackets that do not match
        raise _no_host(text) from error
    if host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com"):
        host = "docker.io"
    try:
        # Without a name below it a host without dot or port would be taken for a repository.
        reference = Reference.parse(f"{host}/a/b")
    except InvalidReference as error:
        raise _no_host(text) from error
    if reference.registry != host:
        raise _no_host(text)
    return host


def _no_host(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"host: {text[:100]!r} is no registry's host; registry.example.org or host:5000 are.", field="host"
    )


def list_credentials(actor: Actor, project: Project) -> QuerySet[RegistryCredential]:
    """For whoever may use them. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.WRITE, project)
    return RegistryCredential.objects.filter(project=project).select_related("project__team")


def get_credential(actor: Actor, project: Project, host: str) -> RegistryCredential:
    """Raise ``NotFound``, ``NotAllowed``."""
    found = list_credentials(actor, project).filter(host=host).first()
    if found is None:
        raise NotFound(f"{project.path} has no account at {host[:100]!r}.")
    return found


def set_credential(
    actor: Actor, project: Project, host: str, username: str, secret: str
) -> tuple[RegistryCredential, bool]:
    """The account at ``host``, in place of another one; whether it is a new one.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``, ``RegistryNotAllowed``.
    """
    require(actor, Action.MANAGE, project)
    host = parse_host(host)
    _check(host, username, secret)
    with transaction.atomic():
        Project.objects.select_for_update(of=("self",), no_key=True).get(pk=project.pk)
        held = RegistryCredential.objects.filter(project=project)
        before = held.filter(host=host).values_list("username", flat=True).first()
        if before is None and held.count() >= PER_PROJECT_MAX:
            raise InvalidRequest(f"A project has at most {PER_PROJECT_MAX} accounts.", field="host")
        credential, created = held.update_or_create(
            project=project,
            host=host,
            defaults={
                "username": username,
                "sealed_secret": sealing.seal(secret),
                "created_by_name": actor.label[:200],
                "changed_at": timezone.now(),
                "tested_at": None,
                "test_error": "",
            },
        )
        record(
            actor,
            "registry_account.set",
            credential,
            before={"username": before} if before else None,
            after={"host": host, "username": username},
        )
    return credential, created


def _check(host: str, username: str, secret: str) -> None:
    if not _USERNAME.fullmatch(username):
        raise InvalidRequest("username: 1 to 255 characters without blanks and colons.", field="username")
    if not 1 <= len(secret) <= SECRET_MAX or any(ord(letter) < 32 for letter in secret):
        raise InvalidRequest(f"secret: 1 to {SECRET_MAX} characters on one line.", field="secret")
    registries = Registries.of_settings()
    reference = Reference(host, "a/b", "latest")
    if registries.is_ours(reference):
        raise InvalidRequest(
            f"host: {host} is this installation's own registry; no account is needed for it.", field="host"
        )
    registries.require_allowed(reference)


def remove_credential(actor: Actor, project: Project, host: str) -> None:
    """Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.MANAGE, project)
    credential = get_credential(actor, project, host)
    with transaction.atomic():
        before = {"host": host, "username": credential.username}
        record(actor, "registry_account.remove", credential, before=before)
        credential.delete()


def note_test(actor: Actor, credential: RegistryCredential, error: str) -> RegistryCredential:
    """What the registry said to the account; empty: it let us in."""
    with transaction.atomic():
        credential.tested_at, credential.test_error = timezone.now(), error[:500]
        credential.save(update_fields=["tested_at", "test_error"])
        record(actor, "registry_account.test", credential, host=credential.host, passed=not error)
    return credential


def reseal_all(again: Callable[[str], str]) -> int:
    """Seal every secret anew (keys were rotated); inside the caller's transaction. How many there were."""
    count = 0
    for row in RegistryCredential.objects.select_for_update():
        row.sealed_secret = again(row.sealed_secret)
        row.save(update_fields=["sealed_secret"])
        count += 1
    return count
