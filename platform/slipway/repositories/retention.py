"""Which tags a repository keeps: the newest, those of a pattern, those in use. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Rules:
    """A tag is kept if any of these keeps it. With neither number set nothing ever goes."""

    keep_last: int | None = None
    """So many of the newest tags."""
    keep_days: int | None = None
    """Those set within so many days."""
    keep_patterns: tuple[str, ...] = ()
    keep_deployed: bool = True
    """Those whose image a container is made from."""
    untagged_days: int | None = None
    """Manifests without a tag go after so many days; None: they stay."""

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Rules:
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        if "keep_patterns" in known:
            known["keep_patterns"] = tuple(known["keep_patterns"])
        return cls(**known)

    @property
    def limits_tags(self) -> bool:
        return self.keep_last is not None or self.keep_days is not None

    @property
    def is_active(self) -> bool:
        return self.limits_tags or self.untagged_days is not None


@dataclass(frozen=True)
class TagFacts:
    name: str
    digest: str
    updated_at: datetime
    immutable: bool = False


@dataclass(frozen=True)
class Verdict:
    tag: TagFacts
    kept: bool
    reason: str


def judge(rules: Rules, tags: Sequence[TagFacts], deployed: Collection[str], now: datetime) -> list[Verdict]:
    """What becomes of each tag, the newest first. ``deployed`` are digests that containers are made from."""
    newest = sorted(tags, key=lambda tag: (tag.updated_at, tag.name), reverse=True)
    return [_judge(rules, tag, place, deployed, now) for place, tag in enumerate(newest)]


def _judge(rules: Rules, tag: TagFacts, place: int, deployed: Collection[str], now: datetime) -> Verdict:
    matching = next((each for each in rules.keep_patterns if fnmatchcase(tag.name, each)), None)
    if not rules.limits_tags:
        return Verdict(tag, True, "no rule limits tags")
    if tag.immutable:
        return Verdict(tag, True, "immutable")
    if rules.keep_last is not None and place < rules.keep_last:
        return Verdict(tag, True, f"among the last {rules.keep_last}")
    if rules.keep_days is not None and now - tag.updated_at <= timedelta(days=rules.keep_days):
        return Verdict(tag, True, f"set within {rules.keep_days} days")
    if matching is not None:
        return Verdict(tag, True, f"matches {matching}")
    if rules.keep_deployed and tag.digest in deployed:
        return Verdict(tag, True, "in use by a container")
    return Verdict(tag, False, "no rule keeps it")
