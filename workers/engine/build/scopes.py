"""Build arguments outside stages: those above the first FROM, the platforms', the proxies'. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.engine.build.budget import Budget
from workers.engine.build.graph import PlanRequest
from workers.engine.build.platforms import Platform
from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.expansion import Lexicon
from workers.engine.dockerfile.instructions import Dockerfile
from workers.errors import InvalidDockerfile

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class Scope:
    """What FROM may use, and what ``ARG NAME`` in a stage takes over."""

    values: dict[str, str]
    declared: frozenset[str]
    """Names of the ARGs above the first FROM, with or without a value."""

    @property
    def known(self) -> frozenset[str]:
        return self.declared | self.values.keys()


def global_scope(
    dockerfile: Dockerfile, request: PlanRequest, budget: Budget, *, defaults_only: bool = False
) -> Scope:
    """With ``defaults_only`` as if no build argument were given. Raise ``InvalidDockerfile``."""
    given: Mapping[str, str] = {} if defaults_only else request.build_args
    values = predefined(dockerfile, request)
    lexicon = Lexicon(dockerfile.escape)
    declared: set[str] = set()
    for instruction in dockerfile.arguments:
        for pair in instruction.pairs:
            declared.add(pair.name)
            try:
                if pair.name in given:
                    values[pair.name] = given[pair.name]
                elif pair.value is not None:
                    values[pair.name] = budget.spend(lexicon.expand(pair.value, values).text)
            except Mistake as mistake:
                raise mistake.at(instruction.location) from None
    return Scope(values, frozenset(declared))


def predefined(dockerfile: Dockerfile, request: PlanRequest) -> dict[str, str]:
    """The platforms' arguments; a build argument of the name counts instead."""
    build = Platform.parse(request.platform)
    target = Platform.parse(request.target_platform or request.platform)
    values = {"TARGETSTAGE": request.target or dockerfile.stages[-1].name or "default"}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        values |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.os,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return {name: request.build_args.get(name, value) for name, value in values.items()}


def proxy_environment(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Proxies given as build arguments reach every RUN, undeclared, in both spellings."""
    found: dict[str, str] = {}
    for name, value in sorted(build_args.items()):
        if name.lower() in _PROXIES:
            found[name.lower()] = value
    return tuple(f"{name}={value}" for low, value in found.items() for name in (low.upper(), low))


def source_date_epoch(request: PlanRequest, scope: Scope) -> int | None:
    """The build's, or the argument's. Raise ``InvalidDockerfile``."""
    if request.source_date_epoch is not None:
        return request.source_date_epoch
    text = request.build_args.get(EPOCH) or scope.values.get(EPOCH, "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise InvalidDockerfile(
            f"The build argument {EPOCH} is {text[:40]!r}; seconds since 1970 were expected", argument=EPOCH
        )
    return int(text)
