"""Checks that need nothing but the file: names, casing, old forms, secrets in variables. Pure.

Those that need variables and images are made while a build is planned (``workers.engine.build.planning``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.locations import Location
from workers.engine.dockerfile.rules import CheckOptions, Report

_RESERVED = frozenset({"context", "scratch"})
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def check_options(dockerfile: typed.Dockerfile) -> CheckOptions:
    """Of the ``check`` directive. Raise ``InvalidDockerfile``."""
    text = dockerfile.directives.get("check", "")
    try:
        return CheckOptions.parse(text)
    except Mistake as mistake:
        start = dockerfile.stages[0].start.location
        raise mistake.at(Location(start.file, 1, 1, f"# check={text}")) from None


def check_text(dockerfile: typed.Dockerfile, report: Report) -> None:
    for location in dockerfile.empty_continuations:
        report.add("NoEmptyContinuation", location)
    _casing(dockerfile, report)
    seen: set[str] = set()
    for stage in dockerfile.stages:
        _stage_name(stage, seen, report)
        _once(stage, report)
    for instruction in _every(dockerfile):
        _old_forms(instruction, report)
        _secrets(instruction, report)
        _description(instruction, report)


def _every(dockerfile: typed.Dockerfile) -> Iterator[typed.Instruction]:
    yield from dockerfile.arguments
    for stage in dockerfile.stages:
        yield stage.start
        yield from stage.instructions


def _casing(dockerfile: typed.Dockerfile, report: Report) -> None:
    every = [each for stage in dockerfile.stages for each in (stage.start, *stage.instructions)]
    lower = sum(each.keyword.islower() for each in every)
    mostly_lower = lower > sum(each.keyword.isupper() for each in every)
    for each in every:
        right = each.keyword.islower() if mostly_lower else each.keyword.isupper()
        if not right:
            casing = "lowercase" if mostly_lower else "uppercase"
            report.add(
                "ConsistentInstructionCasing", each.location, each.keyword, casing, comments=each.comments
            )


def _stage_name(stage: typed.Stage, seen: set[str], report: Report) -> None:
    start = stage.start
    if start.as_keyword and start.keyword.isupper() != start.as_keyword.isupper():
        report.add("FromAsCasing", start.location, start.as_keyword, start.keyword, comments=start.comments)
    if not stage.name:
        return
    if start.alias != stage.name:
        report.add("StageNameCasing", start.location, start.alias, comments=start.comments)
    if stage.name in _RESERVED:
        report.add("ReservedStageName", start.location, stage.name, comments=start.comments)
    if stage.name in seen:
        report.add("DuplicateStageName", start.location, stage.name, comments=start.comments)
    seen.add(stage.name)


def _once(stage: typed.Stage, report: Report) -> None:
    """The last CMD, ENTRYPOINT and HEALTHCHECK count; those before are in vain."""
    last: dict[str, typed.Instruction] = {}
    for each in stage.instructions:
        if not isinstance(each, typed.Cmd | typed.Entrypoint | typed.Health):
            continue
        if (before := last.get(each.name)) is not None:
            report.add(
                "MultipleInstructionsDisallowed", before.location, each.keyword, comments=each.comments
            )
        last[each.name] = each


def _old_forms(instruction: typed.Instruction, report: Report) -> None:
    here = instruction.location
    if isinstance(instruction, typed.Maintainer):
        report.add("MaintainerDeprecated", here, comments=instruction.comments)
    if isinstance(instruction, typed.Env | typed.Label) and any(pair.spaced for pair in instruction.pairs):
        report.add("LegacyKeyValueFormat", here, instruction.keyword, comments=instruction.comments)


def _secrets(instruction: typed.Instruction, report: Report) -> None:
    if not isinstance(instruction, typed.Arg | typed.Env):
        return
    for pair in instruction.pairs:
        if _SECRET.search(pair.name) and not _NO_SECRET.search(pair.name):
            report.add(
                "SecretsUsedInArgOrEnv",
                instruction.location,
                instruction.name,
                pair.name,
                comments=instruction.comments,
            )


def _description(instruction: typed.Instruction, report: Report) -> None:
    """A comment right above FROM … AS name or ARG describes it, and begins with its name."""
    if isinstance(instruction, typed.From):
        names = [instruction.alias] if instruction.alias else []
    elif isinstance(instruction, typed.Arg):
        names = [pair.name for pair in instruction.pairs]
    else:
        return
    comments = [each for each in instruction.comments if not each.lower().startswith("check=")]
    if not names or not comments or any(each.startswith(f"{name} ") for each in comments for name in names):
        return
    shown = names[0] if len(names) == 1 else "<arg_key>"
    report.add(
        "InvalidDefinitionDescription",
        instruction.location,
        instruction.keyword,
        shown,
        comments=instruction.comments,
    )
