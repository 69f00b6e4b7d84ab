"""The command of a build: what its row keeps, and what is put in whenever it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from urllib.parse import urlsplit

from slipway.accounts.sealing import seal, unseal
from slipway.builds import named
from slipway.builds.models import Build, SourceKind
from slipway.builds.requests import BuildRequest, options_of
from slipway.catalog.access import home_of_builds
from slipway.catalog.models import Reference, RegistryCredential
from slipway.catalog.registries import Registries
from slipway.catalog.upstream import UPSTREAM
from slipway.jobs.handlers import JobCommand
from slipway.jobs.models import Job
from slipway.projects import ledger
from slipway.projects.limits import limits_of
from slipway.projects.models import Project, Resource
from slipway.projects.queries import find_library
from workers.errors import BadCommand
from workers.messages import BuildImage, BuildSource, Limits, RegistryAccess

SOURCE_FIELDS = ("upload", "url", "ref", "subdirectory", "username")


def sealed(request: BuildRequest) -> str:
    """The secrets of ``request`` as the row keeps them until the build has ended; empty without any."""
    kept = {
        "secrets": request.options.secrets,
        "password": request.source.password,
        "accounts": dict(request.accounts),
        "registries": {host: [each.username, each.password] for host, each in request.registries.items()},
    }
    return seal(json.dumps(kept)) if any(kept.values()) else ""


def credentials_in(request: BuildRequest) -> list[str]:
    """What had a password of its own, by its field: a retry needs it again."""
    of_source = ["password"] if request.source.password else []
    of_contexts = sorted(f"contexts.{name}" for name in request.accounts)
    return [*of_source, *of_contexts, *sorted(f"registries.{host}" for host in request.registries)]


def command_of_build(build: Build) -> BuildImage:
    """Without secrets and without what the project's images are now."""
    return BuildImage(
        job=build.job.hex,
        build=build.hex,
        attempt=1,
        project=build.project.slice,
        scope=build.project.hex,
        source=BuildSource(
            kind=build.source_kind, **{name: build.source.get(name) for name in SOURCE_FIELDS}
        ),
        options=options_of(build.options),
        limits=Limits(**build.limits),
        timeout=float(build.timeout),
    )


def complete(job: Job, command: JobCommand) -> JobCommand:
    """As it is sent: with its secrets, the job's attempt and the images it may begin from.

    Raise ``BadCommand`` when the build is gone, ``Unreadable`` when its secrets do not open.
    """
    if not isinstance(command, BuildImage):
        return command
    build = Build.objects.select_related("project__team").filter(job=job.pk).first()
    if build is None:
        raise BadCommand("The build of this job is gone.", job=job.hex)
    opened = json.loads(unseal(build.sealed)) if build.sealed else {}
    library = find_library()
    accounts = _access(build.project, opened.get("registries", {}))
    return replace(
        command,
        attempt=job.attempt,
        options=replace(
            command.options,
            secrets=opened.get("secrets", {}),
            contexts=named.joined(command.options.contexts, opened.get("accounts", {})),
        ),
        source=_with_account(replace(command.source, password=opened.get("password")), accounts),
        access={**accounts, **home_of_builds(job, command.options)},
        output_max=_room_for_output(build),
        shared_scope=UPSTREAM,
        library_scope=library.hex if library is not None else None,
        local_images=_images(build.project),
        library_images=_images(library) if library is not None else {},
    )


def _room_for_output(build: Build) -> int | None:
    """What is left of the project's disk, for a tar that will count to it; None without a limit."""
    limit = limits_of(build.project)[Resource.DISK]
    if limit is None or build.options.get("output", "image") == "image":
        return None
    return max(0, limit - ledger.used(build.project_id).get(Resource.DISK.value, 0))


def _access(project: Project, own: Mapping[str, Sequence[str]]) -> dict[str, RegistryAccess]:
    """How to speak to registries: the build's ``own`` accounts (user name, password by host), then the
    project's, and what the administrator says of others."""
    registries = Registries.of_settings()
    accounts = {
        row.host: (row.username, unseal(row.sealed_secret))
        for row in RegistryCredential.objects.filter(project=project)
    }
    accounts |= {host: (username, password) for host, (username, password) in own.items()}
    named = {*accounts, *registries.private, *registries.plain_http, *registries.mirrors}
    found = registries.by_pattern()
    for host in sorted(named):
        username, password = accounts.get(host, (None, None))
        found[host] = RegistryAccess(
            username=username,
            password=password,
            plain_http=registries.speaks_plain_http(host),
            mirrors=registries.mirrors_of(host),
            allow_private=registries.may_be_private(host),
            denied=not registries.is_allowed(host),
        )
    return found


def _with_account(source: BuildSource, access: Mapping[str, RegistryAccess]) -> BuildSource:
    """With the project's account at the repository's host (over TLS), unless the build brought its own."""
    url = urlsplit(source.url or "")
    if source.kind != SourceKind.GIT or source.password or url.scheme != "https":
        return source
    account = access.get(url.netloc)
    if account is None or account.username is None or source.username not in (None, account.username):
        return source
    return replace(source, username=account.username, password=account.password)


def _images(project: Project) -> dict[str, str]:
    """Familiar reference → image id, of the project's list."""
    names = Reference.objects.filter(project=project, image__withdrawn=False).order_by()
    return {
        f"{name}:{tag}": image for name, tag, image in names.values_list("name", "tag", "image__image_id")
    }


def limits_as_kept(limits: Limits) -> dict[str, int]:
    return asdict(limits)


def reseal_all(again: Callable[[str], str]) -> int:
    """Seal anew what builds under way keep (keys were rotated). How many there were."""
    count = 0
    for key, sealed_text in Build.objects.exclude(sealed="").values_list("pk", "sealed"):
        count += Build.objects.filter(pk=key, sealed=sealed_text).update(sealed=again(sealed_text))
    return count
