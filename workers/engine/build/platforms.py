"""Platforms as people write them: ``linux/arm64``, ``arm/v7``, ``x86_64``. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from workers.engine.dockerfile.errors import Mistake

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
}
_KNOWN = frozenset(
    {"amd64", "386", "arm", "arm64", "ppc64le", "ppc64", "s390x", "riscv64", "mips64", "mips64le", "loong64"}
)


@dataclass(frozen=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str, *, host: str = "linux/amd64") -> Platform:
        """Normalised: ``aarch64`` is ``linux/arm64``. Raise ``Mistake``."""
        parts = text.strip().lower().split("/")
        if parts == ["local"]:
            parts = host.split("/")
        if len(parts) == 1 and parts[0] == "linux":
            parts += host.split("/")[1:]
        elif len(parts) == 1 or (len(parts) == 2 and parts[0] in ("arm", "arm64")):
            parts = ["linux", *parts]
        if parts[0] != "linux":
            raise Mistake(f"the platform {text[:40]!r} is none of Linux, and only Linux is built here", text)
        architecture, _, variant = _ARCHITECTURES.get(parts[1], parts[1]).partition("/")
        if len(parts) > 3 or architecture not in _KNOWN or not all(parts):
            raise Mistake(f"{text[:40]!r} is no platform; linux/amd64 or linux/arm64 was expected", text)
        variant = parts[2] if len(parts) == 3 else variant
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1"), ("arm", "7")):
            variant = "v7" if architecture == "arm" else ""
        return cls(parts[0], architecture, "v7" if architecture == "arm" and not variant else variant)
