"""What asks for a build once more, and what people must give again: secrets went when it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from slipway.builds.commands import SOURCE_FIELDS
from slipway.builds.errors import ContextGone, SecretsNeeded
from slipway.builds.models import Build, SourceKind
from slipway.builds.registries import Account
from slipway.builds.requests import BuildRequest, Docker, options_of
from slipway.jobs.errors import JobActive
from workers.messages import BuildOptions, BuildSource

_CONTEXT = "contexts."
_REGISTRY = "registries."


@dataclass(frozen=True)
class Again:
    """What a retry gives beside the build itself."""

    no_cache: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict)
    password: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Addresses of named contexts with what opens them, where those had something of the kind."""
    registries: Mapping[str, Account] = field(default_factory=dict)
    dockerfile_text: str | None = None
    """In place of the Dockerfile, or of one that was missing."""


def repeated(build: Build, again: Again) -> BuildRequest:
    """Raise ``JobActive``, ``SecretsNeeded``, ``ContextGone``."""
    if build.is_active:
        raise JobActive("The build is still under way; cancel it first.", state=build.job.state)
    _require_given(build, again)
    if build.source_kind == SourceKind.UPLOAD and not build.context_kept:
        raise ContextGone("What was uploaded for this build is no longer kept; upload it again.")
    return BuildRequest(
        source=BuildSource(
            kind=build.source_kind,
            password=again.password,
            **{name: build.source.get(name) for name in SOURCE_FIELDS},
        ),
        options=_options(build, again),
        docker=_docker(build),
        registries={host: again.registries[host] for host in registries_needed(build)},
        name=str(build.source.get("name") or ""),
        size=int(build.source.get("size") or 0),
        group=build.group,
        timeout=build.timeout,
        queue_timeout=build.queue_timeout,
    )


def contexts_needed(build: Build) -> list[str]:
    """Names of the contexts whose addresses were opened by something that is gone."""
    return [each.removeprefix(_CONTEXT) for each in build.credentials if each.startswith(_CONTEXT)]


def registries_needed(build: Build) -> list[str]:
    """Hosts of the registries it had an account of its own at."""
    return [each.removeprefix(_REGISTRY) for each in build.credentials if each.startswith(_REGISTRY)]


def docker_as_kept(docker: Docker) -> dict[str, Any]:
    return asdict(docker)


def _require_given(build: Build, again: Again) -> None:
    secrets = sorted(set(build.secret_ids) - again.secrets.keys())
    passwords = [f"{_CONTEXT}{name}" for name in contexts_needed(build) if name not in again.contexts]
    passwords += [f"{_REGISTRY}{host}" for host in registries_needed(build) if host not in again.registries]
    if "password" in build.credentials and not again.password:
        passwords.insert(0, "password")
    if not secrets and not passwords:
        return
    wanted = [f"secrets ({', '.join(secrets)})"] if secrets else []
    wanted += [f"passwords ({', '.join(passwords)})"] if passwords else []
    raise SecretsNeeded(
        f"The build's {' and '.join(wanted)} were dropped when it ended; give them again.",
        secrets=", ".join(secrets),
        credentials=", ".join(passwords),
    )


def _options(build: Build, again: Again) -> BuildOptions:
    options = options_of(build.options, {name: again.secrets[name] for name in build.secret_ids})
    given = {name: again.contexts[name] for name in contexts_needed(build)}
    return replace(
        options,
        contexts={**options.contexts, **given},
        no_cache=options.no_cache or again.no_cache,
        dockerfile_text=again.dockerfile_text or options.dockerfile_text,
    )


def _docker(build: Build) -> Docker:
    """As asked for. Builds that did not keep it have their memory still."""
    known = {each.name for each in fields(Docker)}
    kept = build.docker or {"memory": build.limits.get("memory_bytes")}
    return Docker(**{name: value for name, value in kept.items() if name in known})
