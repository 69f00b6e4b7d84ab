"""Each check, by an example that has it and one that has not; the sentences are BuildKit's."""

import io
from pathlib import Path

import pytest

from tests.environment import ROOT
from workers.engine.build.graph import PlanRequest
from workers.engine.build.planning import check
from workers.engine.dockerfile.__main__ import main
from workers.engine.dockerfile.ignore import Ignore
from workers.engine.dockerfile.reading import parse
from workers.engine.dockerfile.rules import RULES
from workers.errors import InvalidDockerfile

EXAMPLES = {
    "StageNameCasing": (
        "FROM scratch AS Bad",
        "Stage name 'Bad' should be lowercase",
        "FROM scratch AS good",
    ),
    "FromAsCasing": (
        "FROM scratch as base",
        "'as' and 'FROM' keywords' casing do not match",
        "from scratch as base",
    ),
    "NoEmptyContinuation": (
        "FROM scratch\nCOPY a \\\n\n b",
        "Empty continuation line",
        "FROM scratch\nCOPY a \\\n b",
    ),
    "ConsistentInstructionCasing": (
        "FROM scratch\ncopy a /\nCOPY a /",
        "Command 'copy' should match the case of the command majority (uppercase)",
        "from scratch\ncopy a /",
    ),
    "DuplicateStageName": (
        "FROM scratch AS a\nFROM scratch AS a",
        'Duplicate stage name "a", stage names should be unique',
        "FROM scratch AS a\nFROM scratch AS b",
    ),
    "ReservedStageName": (
        "FROM alpine AS context",
        'Stage name should not use the same name as reserved stage "context"',
        "FROM alpine AS base",
    ),
    "JSONArgsRecommended": (
        "FROM alpine\nCMD run it",
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        'FROM alpine\nSHELL ["/bin/sh", "-c"]\nENTRYPOINT run it\nCMD ["x"]',
    ),
    "MaintainerDeprecated": (
        "FROM scratch\nMAINTAINER me",
        "Maintainer instruction is deprecated in favor of using label",
        "FROM scratch\nLABEL org.opencontainers.image.authors=me",
    ),
    "UndefinedArgInFrom": (
        "ARG VERSION=1\nFROM alpine:${VERSON:-3}",
        "FROM argument 'VERSON' is not declared (did you mean VERSION?)",
        "ARG VERSION\nFROM alpine:${VERSION:-3}",
    ),
    "UndefinedVar": (
        "FROM scratch\nENV DIR=/a\nCOPY x $DRI",
        "Usage of undefined variable '$DRI' (did you mean $DIR?)",
        "FROM scratch\nARG DIR\nCOPY x $DIR",
    ),
    "WorkdirRelativePath": (
        "FROM alpine\nWORKDIR app",
        'Relative workdir "app" can have unexpected results if the base image changes',
        "FROM alpine\nWORKDIR /srv\nWORKDIR app",
    ),
    "MultipleInstructionsDisallowed": (
        'FROM alpine\nCMD ["a"]\nCMD ["b"]',
        (
            "Multiple CMD instructions should not be used in the same stage "
            "because only the last one will be used"
        ),
        'FROM alpine AS a\nCMD ["a"]\nFROM alpine\nCMD ["b"]',
    ),
    "LegacyKeyValueFormat": (
        "FROM alpine\nENV A b",
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
        "FROM alpine\nENV A=b\nLABEL a=b",
    ),
    "RedundantTargetPlatform": (
        "FROM --platform=$TARGETPLATFORM alpine",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        "FROM --platform=$BUILDPLATFORM alpine",
    ),
    "SecretsUsedInArgOrEnv": (
        "FROM alpine\nARG GITHUB_TOKEN",
        'Do not use ARG or ENV instructions for sensitive data (ARG "GITHUB_TOKEN")',
        "FROM alpine\nENV PUBLIC_KEY=x\nARG TOKENS\nARG PASSWORD_FILE",
    ),
    "InvalidDefaultArgInFrom": (
        "ARG TAG\nFROM alpine:$TAG",
        "Default value for ARG alpine:$TAG results in empty or invalid base image name",
        "ARG TAG=3\nFROM alpine:$TAG",
    ),
    "FromPlatformFlagConstDisallowed": (
        "FROM --platform=linux/amd64 alpine AS base",
        'FROM --platform flag should not use constant value "linux/amd64"',
        "FROM --platform=linux/amd64 alpine AS base-amd64",
    ),
    "CopyIgnoredFile": (
        "FROM scratch\nCOPY node_modules/x /",
        'Attempting to Copy file "node_modules/x" that is excluded by .dockerignore',
        "FROM scratch\nCOPY src . /",
    ),
    "InvalidDefinitionDescription": (
        "# check=experimental=all\n\n# what is this\nFROM scratch AS base",
        (
            "Comment for FROM should follow the format: `# base <description>`. If this is not intended to "
            "be a description comment, add an empty line or comment between the instruction and the comment."
        ),
        "# check=experimental=all\n\n# base is the base\nFROM scratch AS base\n# not a description\n\nARG A",
    ),
    "ExposeProtoCasing": (
        "FROM alpine\nEXPOSE 80/TCP",
        "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
        "FROM alpine\nEXPOSE 80/tcp",
    ),
    "ExposeInvalidFormat": (
        "FROM alpine\nEXPOSE 127.0.0.1:80:8080",
        "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:8080'",
        "FROM alpine\nEXPOSE 80 8000-8010/udp",
    ),
}
IGNORE = Ignore.parse("node_modules\n")
GIVEN = PlanRequest(build_args={"TAG": "3"})


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_check(rule: str) -> None:
    bad, message, good = EXAMPLES[rule]
    assert [(each.rule, each.message) for each in check(parse(bad), GIVEN, ignore=IGNORE)] == [
        (rule, message)
    ]
    assert check(parse(good), GIVEN, ignore=IGNORE) == ()


def test_every_check_has_an_example_or_is_tested_with_an_image() -> None:
    assert RULES.keys() - EXAMPLES.keys() == {"InvalidBaseImagePlatform"}


def test_checks_are_left_out_by_directive_or_by_a_comment_above() -> None:
    bad = "FROM scratch AS Bad\nMAINTAINER me"
    assert len(check(parse(bad))) == 2
    assert [each.rule for each in check(parse(f"# check=skip=StageNameCasing\n{bad}"))] == [
        "MaintainerDeprecated"
    ]
    assert check(parse(f"# check=skip=all\n{bad}")) == ()
    text = "FROM scratch AS Bad\n# check=skip=MaintainerDeprecated\nMAINTAINER me"
    assert [each.rule for each in check(parse(text))] == ["StageNameCasing"]


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        ("skip=StageNameCase", "there is no check 'StageNameCase' (did you mean StageNameCasing?)"),
        ("skp=x", "the directive check has no 'skp'"),
        ("error=perhaps", "the directive check's error is true or false"),
    ],
)
def test_a_check_directive_that_says_nothing_known(directive: str, message: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        check(parse(f"# check={directive}\nFROM scratch"))
    assert message in caught.value.message
    assert caught.value.facts["line"] == 1


def test_a_variable_may_be_the_base_images_unless_it_is_known() -> None:
    assert check(parse("FROM unknown\nRUN x\nENV A=$FROM_THE_IMAGE")) == ()


# --------------------------------------------------------------------------- the command


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(list(arguments), out, err), out.getvalue(), err.getvalue()


def test_dump_prints_the_parsed_form() -> None:
    directory = ROOT / "tests" / "golden" / "dockerfiles" / "stages"
    assert run("dump", str(directory / "Dockerfile")) == (0, (directory / "dump").read_text(), "")


def test_check_prints_findings_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n\nCOPY secret /\n")
    (tmp_path / ".dockerignore").write_text("secret\n")
    code, out, _ = run("check", str(tmp_path / "Dockerfile"))
    assert code == 1
    assert out == (
        'Dockerfile:3: CopyIgnoredFile: Attempting to Copy file "secret" that is excluded by .dockerignore\n'
        "  3 | COPY secret /\n"
        "    | ^^^^\n"
    )
    (tmp_path / "Dockerfile.dockerignore").write_text("other\n")
    assert run("check", str(tmp_path / "Dockerfile")) == (0, "", "")


def test_a_file_that_is_none_ends_with_status_two(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FRM scratch\n")
    code, out, err = run("check", str(tmp_path / "Dockerfile"))
    assert (code, out) == (2, "")
    assert err.startswith(
        "Dockerfile:1: there is no instruction FRM (did you mean FROM?)\n  1 | FRM scratch\n"
    )
    assert run("dump", str(tmp_path / "none"))[0] == 2
