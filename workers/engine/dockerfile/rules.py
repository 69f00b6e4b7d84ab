"""The checks' rules and sentences (they are BuildKit's), and which of them count. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.locations import Finding, Location

RULES = {
    "StageNameCasing": "Stage name '{0}' should be lowercase",
    "FromAsCasing": "'{0}' and '{1}' keywords' casing do not match",
    "NoEmptyContinuation": "Empty continuation line",
    "ConsistentInstructionCasing": "Command '{0}' should match the case of the command majority ({1})",
    "DuplicateStageName": 'Duplicate stage name "{0}", stage names should be unique',
    "ReservedStageName": 'Stage name should not use the same name as reserved stage "{0}"',
    "JSONArgsRecommended": (
        "JSON arguments recommended for {0} to prevent unintended behavior related to OS signals"
    ),
    "MaintainerDeprecated": "Maintainer instruction is deprecated in favor of using label",
    "UndefinedArgInFrom": "FROM argument '{0}' is not declared",
    "UndefinedVar": "Usage of undefined variable '${0}'",
    "WorkdirRelativePath": 'Relative workdir "{0}" can have unexpected results if the base image changes',
    "MultipleInstructionsDisallowed": (
        "Multiple {0} instructions should not be used in the same stage "
        "because only the last one will be used"
    ),
    "LegacyKeyValueFormat": '"{0} key=value" should be used instead of legacy "{0} key value" format',
    "InvalidBaseImagePlatform": (
        'Base image {0} was pulled with platform "{2}", expected "{1}" for current build'
    ),
    "RedundantTargetPlatform": (
        "Setting platform to predefined {0} in FROM is redundant as this is the default behavior"
    ),
    "SecretsUsedInArgOrEnv": 'Do not use ARG or ENV instructions for sensitive data ({0} "{1}")',
    "InvalidDefaultArgInFrom": "Default value for ARG {0} results in empty or invalid base image name",
    "FromPlatformFlagConstDisallowed": 'FROM --platform flag should not use constant value "{0}"',
    "CopyIgnoredFile": 'Attempting to {0} file "{1}" that is excluded by .dockerignore',
    "InvalidDefinitionDescription": (
        "Comment for {0} should follow the format: `# {1} <description>`. If this is not intended to be a "
        "description comment, add an empty line or comment between the instruction and the comment."
    ),
    "ExposeProtoCasing": "Defined protocol '{0}' in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": (
        "EXPOSE instruction should not define an IP address or host-port mapping, found '{0}'"
    ),
}
EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
_MOST_FINDINGS = 500
_MOST_GUESSES = 20
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


@dataclass(frozen=True)
class CheckOptions:
    """``# check=skip=RULE,RULE;error=true;experimental=RULE`` (``all`` is every rule)."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False
    """A finding fails the build."""

    @classmethod
    def parse(cls, text: str) -> CheckOptions:
        """Raise ``Mistake``."""
        values: dict[str, str] = {}
        for part in text.split(";") if text.strip() else ():
            name, equals, value = (each.strip() for each in part.partition("="))
            if not equals or name not in ("skip", "error", "experimental"):
                raise Mistake(
                    f"the directive check has no {name[:40]!r}; it has skip, error and experimental", name
                )
            values[name] = value
        error = values.get("error", "false").lower()
        if error not in _TRUE | _FALSE:
            raise Mistake(f"the directive check's error is true or false, not {error[:40]!r}", error)
        return cls(_rules(values.get("skip", "")), _rules(values.get("experimental", "")), error in _TRUE)

    def skips(self, rule: str) -> bool:
        off = rule in EXPERIMENTAL and not {rule, "all"} & self.experimental
        return off or bool({rule, "all"} & self.skip)


@dataclass
class Report:
    """Collects findings; each is said once."""

    options: CheckOptions = CheckOptions()
    findings: dict[Finding, None] = field(default_factory=dict)
    guesses: int = 0

    def guess(self, word: str, known: Iterable[str]) -> str:
        """What was probably meant; only so often, for comparing takes longer than writing."""
        self.guesses += 1
        return nearest(word, known) if self.guesses <= _MOST_GUESSES else ""

    def add(
        self, rule: str, location: Location, *facts: str, comments: Iterable[str] = (), hint: str = ""
    ) -> None:
        """``comments``: those above the instruction, which may hold a ``check=`` of their own."""
        if len(self.findings) >= _MOST_FINDINGS:
            return
        if self.options.skips(rule) or any(_own(comment).skips(rule) for comment in comments):
            return
        self.findings[Finding(rule, RULES[rule].format(*facts) + hint, location)] = None

    @property
    def ordered(self) -> tuple[Finding, ...]:
        return tuple(
            sorted(self.findings, key=lambda each: (each.location.first_line, each.rule, each.message))
        )


def _own(comment: str) -> CheckOptions:
    name, equals, value = comment.partition("=")
    if not equals or name.strip().lower() != "check":
        return _NOTHING_OFF
    try:
        own = CheckOptions.parse(value)
    except Mistake:
        return _NOTHING_OFF
    return CheckOptions(own.skip, EXPERIMENTAL)


def _rules(text: str) -> frozenset[str]:
    names = frozenset(each.strip() for each in text.split(",") if each.strip())
    for name in sorted(names - RULES.keys() - {"all"}):
        raise Mistake(f"there is no check {name[:60]!r}", name, suggestion=nearest(name, (*RULES, "all")))
    return names


_NOTHING_OFF = CheckOptions(experimental=EXPERIMENTAL)
