"""The ``config`` member of an image config: what containers of the image run with. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workers.errors import InvalidManifest
from workers.oci.descriptor import members, text, text_map, texts

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Healthcheck:
    """Times in nanoseconds, as Docker's JSON has them; 0 where the Dockerfile says nothing."""

    test: tuple[str, ...] = ()
    """``("NONE",)``, ``("CMD", argument…)`` or ``("CMD-SHELL", line)``."""
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @classmethod
    def parse(cls, value: object) -> Healthcheck | None:
        """Raise ``InvalidManifest``."""
        if value is None:
            return None
        body = members(value, "config.config.Healthcheck")
        numbers = {name: body.get(member, 0) for name, member in _HEALTH_NUMBERS.items()}
        for name, number in numbers.items():
            if not isinstance(number, int) or isinstance(number, bool):
                raise InvalidManifest(f"config.config.Healthcheck.{_HEALTH_NUMBERS[name]} must be a number")
        return cls(texts(body.get("Test"), "config.config.Healthcheck.Test") or (), **numbers)

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {"Test": list(self.test)} if self.test else {}
        numbers = ((member, getattr(self, name)) for name, member in _HEALTH_NUMBERS.items())
        return body | {member: number for member, number in numbers if number}


_HEALTH_NUMBERS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
    "retries": "Retries",
}


@dataclass(frozen=True)
class RunDefaults:
    """Never changed: each instruction makes a new one with ``dataclasses.replace``."""

    user: str = ""
    working_dir: str = ""
    """Absolute, or empty for ``/``."""
    env: tuple[str, ...] = ()
    """``NAME=value``, each name once."""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    shell: tuple[str, ...] = ()
    """Empty: ``DEFAULT_SHELL``."""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    """``80/tcp``, sorted."""
    volumes: tuple[str, ...] = ()
    """Sorted."""
    labels: dict[str, str] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    """Instructions for builds upon this image, in their order."""

    @classmethod
    def parse(cls, value: object) -> RunDefaults:
        """Of an image config's ``config``. Raise ``InvalidManifest``."""
        where = "config.config"
        body = members(value or {}, where)

        def several(name: str) -> tuple[str, ...] | None:
            return texts(body.get(name), f"{where}.{name}")

        def names(name: str) -> tuple[str, ...]:
            return tuple(sorted(members(body.get(name) or {}, f"{where}.{name}")))

        return cls(
            user=text(body, "User", where, default=""),
            working_dir=text(body, "WorkingDir", where, default=""),
            env=several("Env") or (),
            entrypoint=several("Entrypoint"),
            cmd=several("Cmd"),
            shell=several("Shell") or (),
            stop_signal=text(body, "StopSignal", where, default=""),
            exposed_ports=names("ExposedPorts"),
            volumes=names("Volumes"),
            labels=text_map(body.get("Labels"), f"{where}.Labels"),
            healthcheck=Healthcheck.parse(body.get("Healthcheck")),
            on_build=several("OnBuild") or (),
        )

    def wire(self) -> dict[str, Any]:
        """As it stands in an image config; what is empty is left out."""
        body: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Env": list(self.env),
            "Entrypoint": None if self.entrypoint is None else list(self.entrypoint),
            "Cmd": None if self.cmd is None else list(self.cmd),
            "Volumes": {path: {} for path in self.volumes},
            "WorkingDir": self.working_dir,
            "Labels": dict(sorted(self.labels.items())),
            "StopSignal": self.stop_signal,
            "Healthcheck": self.healthcheck.wire() if self.healthcheck else None,
            "OnBuild": list(self.on_build),
            "Shell": list(self.shell),
        }
        # An empty list of arguments differs from none: it takes away what the base had.
        return {name: value for name, value in body.items() if value or (name in _KEEP_EMPTY and value == [])}


_KEEP_EMPTY = frozenset({"Entrypoint", "Cmd"})
