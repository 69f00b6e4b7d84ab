"""What can be asked of a build, checked: every parameter of Docker's, and those beyond it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from slipway.builds import named, registries
from slipway.builds.errors import InvalidBuild, Unsupported
from slipway.builds.registries import Account
from workers.errors import InvalidReference
from workers.messages import SSH_PREFIX, BuildOptions, BuildSource, Limits
from workers.oci.digest import Digest
from workers.oci.reference import Reference

MEMORY_DEFAULT = 2 << 30
TIMEOUT_DEFAULT, TIMEOUT_MAX = 3600, 24 * 3600
QUEUE_TIMEOUT_DEFAULT, QUEUE_TIMEOUT_MAX = 6 * 3600, 7 * 24 * 3600
DOCKERFILE_MAX = 5 << 20
SECRET_MAX, SECRETS_MAX = 512 << 10, 32
SECRETS_BYTES = 1 << 20
"""All of a build together: a node's worker looks for each of them in everything the build prints."""
SECRET_SHORT = 4
"""Bytes; what has fewer is not taken out of logs (`workers.engine.build.redaction`)."""
TEXT_MAX, ITEMS_MAX = 4096, 200
ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue"),
    *("nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
CACHE_FIELDS = ("type", "ref", "mode", "image-manifest", "oci-mediatypes", "compression", "ignore-error")
OUTPUTS = ("image", "tar", "files")
NETWORKS = ("default", "bridge", "none")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?")
_TOKEN = re.compile(r"gh[a-z]_|github_pat_|gl[a-z]+-|[0-9a-f]{40}$")
_ULIMIT = re.compile(r"([a-z]+)=([0-9]{1,18})(?::([0-9]{1,18}))?")
_GIT_REMOTE = re.compile(r"(https?|ssh|git)://|git@|github\.com/|gitlab\.com/")


@dataclass(frozen=True)
class Docker:
    """Parameters of Docker's classic ``/build`` that say how its daemon works, not what is built."""

    squash: bool = False
    memory: int | None = None
    memswap: int | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpu_period: int | None = None
    cpu_quota: int | None = None
    rm: bool = True
    force_rm: bool = False
    version: str = ""


@dataclass(frozen=True)
class BuildRequest:
    """A build as asked for. ``checked`` before anything is made of it."""

    source: BuildSource = field(default_factory=BuildSource)
    options: BuildOptions = field(default_factory=BuildOptions)
    docker: Docker = field(default_factory=Docker)
    name: str = ""
    """What the uploaded context is called, for people."""
    size: int = 0
    """Of the upload, held of the project's disk."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Of named contexts: what opens their addresses, which are without it. Secret."""
    registries: Mapping[str, Account] = field(default_factory=dict)
    """Host → the account this build has there, before the project's own. Secret."""
    group: str = ""
    timeout: int = TIMEOUT_DEFAULT
    queue_timeout: int = QUEUE_TIMEOUT_DEFAULT

    def checked(self) -> BuildRequest:
        """As it is carried out. Raise ``InvalidBuild``, ``Unsupported``, ``InvalidReference``."""
        self.require_sound()
        source = _checked_source(self.source, self.options)
        options = _checked_options(self.options)
        contexts, accounts = named.split(options.contexts)
        return replace(
            self,
            source=source,
            options=replace(options, contexts=contexts),
            accounts={**self.accounts, **accounts},
            registries=registries.checked(self.registries),
        )

    def require_sound(self) -> None:
        """All that can be wrong before the context has come. Raise ``InvalidBuild`` …"""
        if self.docker.squash or self.options.squash:
            raise Unsupported(
                "squash: layers are not squashed here; copy what you need into a last stage instead.",
                field="squash",
            )
        _require("timeout", 1 <= self.timeout <= TIMEOUT_MAX, f"1 to {TIMEOUT_MAX} seconds are allowed")
        _require(
            "queue_timeout",
            1 <= self.queue_timeout <= QUEUE_TIMEOUT_MAX,
            f"1 to {QUEUE_TIMEOUT_MAX} seconds are allowed",
        )
        _require("group", len(self.group) <= 160, "at most 160 characters are allowed")
        _checked_options(self.options)
        registries.checked(self.registries)

    def limits(self, memory_max: int, cpu_max: int, pids_max: int) -> Limits:
        """What the build may take, within what a container of the project may. Raise ``InvalidBuild``."""
        docker = self.docker
        memory = docker.memory or min(MEMORY_DEFAULT, memory_max)
        _require(
            "memory",
            4 << 20 <= memory <= memory_max,
            f"{memory} bytes: 4 MiB to {memory_max >> 20} MiB are allowed in this project",
        )
        cpu = cpu_max
        if docker.cpu_quota and docker.cpu_quota > 0:
            cpu = docker.cpu_quota * 1000 // (docker.cpu_period or 100_000)
            _require("cpuquota", 10 <= cpu <= cpu_max, f"at most {cpu_max / 1000:g} CPUs are allowed here")
        return Limits(memory_bytes=memory, cpu_millis=cpu, pids=min(4096, pids_max))

    def notes(self) -> list[str]:
        """What was asked for and does nothing here."""
        docker, told = self.docker, []
        if docker.memswap not in (None, 0, -1):
            told.append("memswap: builds have no swap; the memory limit counts.")
        if docker.cpu_shares:
            told.append("cpushares: builds share the CPU as the node says; use cpuquota for a limit.")
        if docker.cpuset_cpus:
            told.append("cpusetcpus: builds are not pinned to CPUs.")
        if not docker.rm:
            told.append("rm: steps leave no containers behind in any case.")
        for name, value in sorted(self.options.secrets.items()):
            if len(value.encode()) < SECRET_SHORT:
                told.append(
                    f"secret {name}: shorter than {SECRET_SHORT} bytes, so it is not taken out of logs."
                )
        return told


def _checked_source(source: BuildSource, options: BuildOptions) -> BuildSource:
    if source.kind == "upload":
        return replace(source, upload=str(Digest.parse(source.upload or "")))
    if source.kind == "git":
        return _checked_git(source)
    if source.kind == "url":
        return _checked_url(source)
    _require("source", source.kind == "none", "upload, git, url or none are known")
    _require(
        "dockerfile_text",
        bool(options.dockerfile_text and options.dockerfile_text.strip()),
        "a build without context and repository needs the text of its Dockerfile",
    )
    return BuildSource()


def _checked_git(source: BuildSource) -> BuildSource:
    """Its parts apart, a password in the address as a password."""
    url, fragment = (source.url or "").strip(), ""
    if "#" in url:
        url, _, fragment = url.partition("#")
    _require("url", 0 < len(url) <= 2000 and not _has_controls(url), "the address of a repository is needed")
    if url.startswith(("github.com/", "gitlab.com/")):
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidBuild("url: brackets in it do not match.", field="url") from error
    _require("url", parts.scheme in ("http", "https"), "https:// (or http://) is needed; ssh has no key here")
    _require("url", bool(parts.hostname), "a host is needed")
    username = source.username or unquote(parts.username or "")
    password = source.password or unquote(parts.password or "")
    username, password = _without_token(username, password)
    host = parts.netloc.rpartition("@")[2]
    ref, _, subdirectory = fragment.partition(":")
    ref, subdirectory = source.ref or ref or "", source.subdirectory or subdirectory or ""
    _require("ref", not ref.startswith("-") and len(ref) <= 255 and not _has_controls(ref), "no such name")
    _require("subdirectory", _is_inside(subdirectory), "a path inside the repository is needed")
    return BuildSource(
        kind="git",
        url=urlunsplit((parts.scheme, host, parts.path, parts.query, "")),
        ref=ref or None,
        subdirectory=subdirectory.strip("/") or None,
        username=username or None,
        password=password or None,
    )


def _without_token(username: str, password: str) -> tuple[str, str]:
    """A user name is shown to all who see the build: a token in its place goes to the password's."""
    if _TOKEN.match(username) and password in ("", "x-oauth-basic"):
        return "x-access-token", username
    return username, password


def _checked_url(source: BuildSource) -> BuildSource:
    """Of an archive or a Dockerfile; the node judges where it leads."""
    url = (source.url or "").strip()
    _require("url", 0 < len(url) <= 2000 and not _has_controls(url), "an address is needed")
    parts = urlsplit(url)
    _require("url", parts.scheme in ("http", "https") and bool(parts.hostname), "https://host/… is needed")
    has_account = "@" in parts.netloc or source.username or source.password
    _require("url", not has_account, "user names and passwords go with git repositories only")
    _require("url", not (source.ref or source.subdirectory), "ref and subdirectory are of git repositories")
    return BuildSource(kind="url", url=url)


def _checked_options(options: BuildOptions) -> BuildOptions:
    text = options.dockerfile_text
    _require("dockerfile_text", text is None or len(text) <= DOCKERFILE_MAX, "at most 5 MB are allowed")
    _require(
        "dockerfile", _is_inside(options.dockerfile) and bool(options.dockerfile), "a path in the context"
    )
    _require("output", options.output in OUTPUTS, f"{', '.join(OUTPUTS)} are known")
    _require("networkmode", options.network in NETWORKS, f"{', '.join(NETWORKS)} are known here")
    for name in ("args", "labels", "contexts"):
        _check_pairs(name, getattr(options, name))
    named.require_sound(options.contexts)
    for name in ("no_cache_filter", "cache_from", "cache_to", "extra_hosts"):
        values = getattr(options, name)
        _require(name, len(values) <= ITEMS_MAX and all(map(_is_line, values)), "too much, or not a line")
    for text in (*options.cache_from, *options.cache_to):
        _check_cache(text)
    _require("ulimits", len(options.ulimits) <= 20, "at most 20 are allowed")
    for text in options.ulimits:
        limit = _ULIMIT.fullmatch(text)
        fits = limit is not None and limit[1] in ULIMITS and int(limit[2]) <= int(limit[3] or limit[2])
        _require("ulimits", fits, f"{text[:60]!r}: name=soft[:hard], the name one of {', '.join(ULIMITS)}")
    for host in options.extra_hosts:
        _require("extrahosts", bool(re.fullmatch(r"[^\s:=]+[:=]\S+", host)), f"{host[:60]!r}: name:address")
    if options.platform is not None:
        _require("platform", bool(_PLATFORM.fullmatch(options.platform)), "os/architecture, as linux/amd64")
    shm = options.shm_bytes
    _require("shmsize", shm is None or 1 << 16 <= shm <= 8 << 30, "64 KiB to 8 GiB are allowed")
    if options.target is not None:
        _require("target", _is_line(options.target) and len(options.target) <= 160, "the name of a stage")
    _check_secrets(options.secrets)
    return replace(options, tags=_checked_tags(options.tags), target=options.target or None)


def _check_secrets(secrets: Mapping[str, str]) -> None:
    _require("secrets", len(secrets) <= SECRETS_MAX, f"at most {SECRETS_MAX} are allowed")
    for key, value in secrets.items():
        name = key.removeprefix(SSH_PREFIX)
        _require("secrets", bool(_NAME.fullmatch(name)), f"{name[:40]!r} is no id: letters, digits, _ . -")
        if key != name:
            _require(
                "ssh",
                "PRIVATE KEY-----" in value,
                f"{name}: a private key is needed, as ssh-keygen writes it",
            )
        _require("secrets", 0 < len(value) <= SECRET_MAX, f"{key}: 1 byte to 512 KiB are allowed")
    together = sum(map(len, secrets.values()))
    _require("secrets", together <= SECRETS_BYTES, f"{together >> 10} KiB together; 1 MiB is allowed")


def _check_cache(text: str) -> None:
    """What nothing here uses is not kept: keys of other kinds of caches are secrets."""
    pairs = [part.partition("=") for part in text.split(",")] if "=" in text else []
    given = {name.strip(): value.strip() for name, _, value in pairs}
    unknown = sorted(given.keys() - set(CACHE_FIELDS))
    _require("cache", not unknown, f"{', '.join(unknown)[:60]}: {', '.join(CACHE_FIELDS)} are known")
    _require("cache", given.get("type", "registry") in ("registry", "inline"), "registry, inline are known")
    reference = given.get("ref", "") if given else text.removeprefix("inline")
    if reference:
        Reference.parse(reference)


def _check_pairs(name: str, pairs: Mapping[str, str]) -> None:
    _require(name, len(pairs) <= ITEMS_MAX, f"at most {ITEMS_MAX} are allowed")
    for key, value in pairs.items():
        fits = 0 < len(key) <= 255 and len(value) <= 65_536 and "\0" not in key + value
        _require(name, fits and not _has_controls(key), f"{key[:60]!r}: too long, or no name")


def _checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    _require("tags", len(tags) <= 50, "at most 50 are allowed")
    found: list[str] = []
    for tag in tags:
        reference = Reference.parse(tag)
        if reference.digest is not None:
            raise InvalidReference(
                f"{tag[:160]!r}: a name with a tag is needed, no digest.", reference=tag[:160]
            )
        name = f"{reference.familiar_name}:{reference.tag or 'latest'}"
        if name not in found:
            found.append(name)
    return tuple(found)


def _is_line(text: str) -> bool:
    return len(text) <= TEXT_MAX and not _has_controls(text)


def _has_controls(text: str) -> bool:
    return any(ord(each) < 32 or ord(each) == 127 for each in text)


def _is_inside(path: str) -> bool:
    return (
        len(path) <= 1000
        and not _has_controls(path)
        and not path.startswith("/")
        and ".." not in path.split("/")
    )


def _require(name: str, fits: bool, what: str) -> None:
    if not fits:
        raise InvalidBuild(f"{name}: {what}.", field=name)


def plain_options(options: BuildOptions) -> dict[str, Any]:
    """As JSON, without the values of secrets."""
    plain = {each.name: getattr(options, each.name) for each in fields(options) if each.name != "secrets"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def options_of(plain: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> BuildOptions:
    """The reverse; what another version of us has written and we do not know is left out."""
    known = {each.name for each in fields(BuildOptions)}
    given: dict[str, Any] = {"secrets": dict(secrets or {})}
    for name, value in plain.items():
        if name in known:
            given[name] = tuple(value) if isinstance(value, list) else value
    return BuildOptions(**given)
