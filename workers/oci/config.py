"""The image config: defaults to run with, diffIDs, history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workers.errors import InvalidDigest, InvalidManifest
from workers.oci.descriptor import Platform, members, parse_document, text, text_map, texts
from workers.oci.digest import Digest


@dataclass(frozen=True)
class HistoryEntry:
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True)
class ImageConfig:
    """A parsed config; empty text, tuple or dict where the image says nothing."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    """Bottom first."""
    created: str = ""
    author: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    history: tuple[HistoryEntry, ...] = ()


def parse_config(data: bytes | str) -> ImageConfig:
    """Raise ``InvalidManifest`` on a config no container could be made of."""
    body = parse_document(data.encode() if isinstance(data, str) else data, "image config")
    run = members(body.get("config") or {}, "config.config")
    platform = Platform(
        text(body, "os", "config"),
        text(body, "architecture", "config"),
        text(body, "variant", "config", default=""),
    )
    for name in ("User", "WorkingDir", "StopSignal"):
        if "\0" in text(run, name, "config.config", default=""):
            raise InvalidManifest(f"config.config.{name} holds a NUL character")
    return ImageConfig(
        platform=platform,
        diff_ids=_diff_ids(body),
        created=text(body, "created", "config", default=""),
        author=text(body, "author", "config", default=""),
        entrypoint=_command(run, "Entrypoint"),
        command=_command(run, "Cmd"),
        env=_env(run),
        user=text(run, "User", "config.config", default=""),
        working_dir=text(run, "WorkingDir", "config.config", default=""),
        stop_signal=text(run, "StopSignal", "config.config", default=""),
        exposed_ports=_names(run, "ExposedPorts"),
        volumes=_names(run, "Volumes"),
        labels=text_map(run.get("Labels"), "config.config.Labels"),
        history=_history(body.get("history")),
    )


def _diff_ids(body: dict[str, Any]) -> tuple[Digest, ...]:
    rootfs = members(body.get("rootfs"), "config.rootfs")
    if rootfs.get("type") != "layers":
        raise InvalidManifest(f"config.rootfs.type is {rootfs.get('type')!r}; 'layers' was expected")
    try:
        return tuple(
            Digest.parse(each) for each in texts(rootfs.get("diff_ids"), "config.rootfs.diff_ids") or ()
        )
    except InvalidDigest as error:
        raise InvalidManifest(f"config.rootfs.diff_ids: {error.message}") from error


def _command(run: dict[str, Any], name: str) -> tuple[str, ...]:
    arguments = texts(run.get(name), f"config.config.{name}") or ()
    if any("\0" in each for each in arguments):
        raise InvalidManifest(f"config.config.{name} holds a NUL character")
    return arguments


def _env(run: dict[str, Any]) -> tuple[str, ...]:
    env = texts(run.get("Env"), "config.config.Env") or ()
    for each in env:
        if "\0" in each or each.startswith("=") or "=" not in each:
            raise InvalidManifest(f"config.config.Env: {each[:80]!r} is not NAME=value")
    return env


def _names(run: dict[str, Any], name: str) -> tuple[str, ...]:
    """A set, which the config writes as an object with empty members."""
    return tuple(sorted(members(run.get(name) or {}, f"config.config.{name}")))


def _history(value: object) -> tuple[HistoryEntry, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidManifest("config.history must be a list")
    entries = []
    for position, each in enumerate(value):
        where = f"config.history[{position}]"
        body = members(each, where)
        names = ("created", "created_by", "author", "comment")
        parts = {name: text(body, name, where, default="") for name in names}
        entries.append(HistoryEntry(**parts, empty_layer=body.get("empty_layer") is True))
    return tuple(entries)
