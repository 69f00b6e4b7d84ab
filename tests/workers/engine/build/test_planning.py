"""Graphs, by examples that a person has read."""

import json
from pathlib import Path

import pytest

from tests.environment import ROOT
from tests.graphs import describe, image_config, resolve
from workers.engine.build.graph import Graph, NamedContext, PlanRequest, ResolvedImage
from workers.engine.build.planning import base_images, check, plan
from workers.engine.build.steps import (
    ContextRoot,
    CopyStep,
    ImageRoot,
    PathSource,
    RunStep,
    ScratchRoot,
    StageRoot,
    WorkdirStep,
)
from workers.engine.dockerfile.reading import parse
from workers.errors import DockerfileTooLarge, InvalidDockerfile, NoSuchImage, NoSuchStage, StageCycle

GOLDEN = sorted((ROOT / "tests" / "golden" / "dockerfiles").glob("*/graph.json"))


def request_of(directory: Path) -> PlanRequest:
    path = directory / "request.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    contexts = {name: NamedContext(**each) for name, each in values.pop("contexts", {}).items()}
    for name in ("extra_hosts", "ulimits", "no_cache_filter"):
        values[name] = tuple(values.get(name, ()))
    return PlanRequest(contexts=contexts, **values)


def planned(text: str, **request: object) -> Graph:
    return plan(parse(text), PlanRequest(**request), resolve)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_the_graph(path: Path) -> None:
    graph = plan(parse((path.parent / "Dockerfile").read_bytes()), request_of(path.parent), resolve)
    assert describe(graph) == path.read_text()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_the_history_is_the_bases_and_then_the_steps(path: Path) -> None:
    graph = plan(parse((path.parent / "Dockerfile").read_bytes()), request_of(path.parent), resolve)
    for stage in graph.stages:
        before = graph.stage(stage.base.stage).history if isinstance(stage.base, StageRoot) else None
        own = [(step.created_by, step.empty_layer) for step in stage.steps if step.created_by]
        entries = [(each.created_by, each.empty_layer) for each in stage.history]
        assert entries[len(entries) - len(own) :] == own
        if before is not None:
            assert stage.history[: len(before)] == before


# --------------------------------------------------------------------------- stages


def test_only_what_the_target_needs_is_planned() -> None:
    text = "FROM debian AS a\nFROM debian AS b\nFROM a AS c\nFROM debian AS d\nCOPY --from=c / /\nFROM b"
    graph = planned(text, target="D")
    assert [stage.name for stage in graph.stages] == ["a", "c", "d"]
    assert graph.skipped == ("b", "stage-4")
    assert graph.result.name == "d"
    assert planned(text, target="1").result.name == "b"
    assert planned(text).result.name == "stage-4"


def test_a_step_waits_only_for_what_it_reads() -> None:
    graph = planned(
        "FROM debian AS a\nFROM debian AS b\nRUN x\nCOPY --from=a / /\nRUN --mount=from=a,target=/m y"
    )
    assert [step.needs for step in graph.result.steps] == [(), (0,), (0,)]
    assert graph.result.needs == (0,)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("FROM debian AS a\nCOPY --from=a x /", StageCycle, "stages need one another: a → a"),
        (
            "FROM debian AS a\nCOPY --from=c x /\nFROM a AS b\nFROM b AS c",
            StageCycle,
            "stages need one another: a → c → b → a",
        ),
        (
            "FROM debian AS a\nRUN --mount=from=b,target=/b x\nFROM debian AS b",
            NoSuchStage,
            "the stage b is defined further down, in line 3",
        ),
        ("FROM debian\nCOPY --from=7 x /", NoSuchStage, "there is no stage 7; they are numbered from 0 to 0"),
    ],
)
def test_stages_that_cannot_be(text: str, kind: type[InvalidDockerfile], message: str) -> None:
    with pytest.raises(kind) as caught:
        planned(text)
    assert message in caught.value.message
    assert caught.value.facts["line"] == 2


def test_a_target_that_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(NoSuchStage, match=r"there is no stage 'biuld' to build; there are build, web \(did"):
        planned("FROM debian AS build\nFROM build AS web", target="biuld")


def test_an_image_that_is_not_there_is_said_with_its_line() -> None:
    with pytest.raises(NoSuchImage) as caught:
        planned("FROM debian AS build\nFROM buidl")
    assert caught.value.facts["line"] == 2
    assert caught.value.facts["suggestion"] == "build"


def test_images_are_resolved_once_and_only_where_needed() -> None:
    asked = []

    def ask(reference: str, platform: str) -> ResolvedImage:
        asked.append((reference, platform))
        return resolve(reference, platform)

    text = (
        "FROM busybox AS unused\nFROM debian AS a\nFROM debian AS b\nCOPY --from=a / /\nCOPY --from=node / /"
    )
    plan(parse(text), PlanRequest(), ask)
    assert asked == [("debian", "linux/amd64")]
    assert base_images(parse(text), PlanRequest()) == (ImageRoot("debian", "linux/amd64"),)


def test_an_image_of_another_platform_is_reported() -> None:
    graph = plan(
        parse("FROM debian"),
        PlanRequest(),
        lambda *_: ResolvedImage("sha256:x", image_config({}, "arm64")),
    )
    assert [each.message for each in graph.warnings] == [
        'Base image debian was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    ]


def test_scratch_needs_no_image_and_has_a_path() -> None:
    graph = planned("FROM scratch\nCOPY a /")
    assert graph.result.base == ScratchRoot()
    assert graph.result.base_name == ""
    assert graph.result.steps[0].name == "[1/1] COPY a /"
    assert graph.result.defaults.env == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)


def test_files_in_place_of_an_image_are_the_first_layer() -> None:
    graph = planned("FROM assets\nRUN x", contexts={"assets": NamedContext("files")})
    first = graph.result.steps[0]
    assert isinstance(first, CopyStep)
    assert graph.result.base == ScratchRoot()
    assert (first.sources, first.destination) == ((PathSource(ContextRoot("assets"), "/"),), "/")
    assert [step.name for step in graph.result.steps] == ["[1/2] FROM assets", "[2/2] RUN x"]
    assert [each.empty_layer for each in graph.result.history] == [False, False]


# --------------------------------------------------------------------------- single instructions


@pytest.mark.parametrize(
    ("build", "flag", "network"),
    [
        ("none", "", "none"),
        ("none", "--network=default ", "none"),
        ("none", "--network=none ", "none"),
        ("default", "--network=default ", "default"),
        ("default", "--network=none ", "none"),
    ],
)
def test_the_default_network_is_the_builds(build: str, flag: str, network: str) -> None:
    (step,) = planned(f"FROM debian\nRUN {flag}true\n", network=build).stages[0].steps
    assert isinstance(step, RunStep)
    assert step.network == network


def test_a_heredoc_with_a_program_of_its_own_is_a_script() -> None:
    step = planned("FROM debian\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF").result.steps[0]
    assert isinstance(step, RunStep)
    assert step.argv == ("/dev/pipes/EOF",)
    assert step.script is not None
    assert (step.script.data, step.script.mode) == ("#!/usr/bin/env python3\nprint(1)\n", 0o755)


def test_variables_stand_in_heredocs_of_copy_unless_their_name_is_quoted() -> None:
    text = 'FROM debian\nENV A=1\nCOPY <<X <<\'Y\' /\n"$A" \\$A\nX\n"$A"\nY'
    step = planned(text).result.steps[1]
    assert isinstance(step, CopyStep)
    assert [source.file.data for source in step.sources] == ['"1" $A\n', '"$A"\n']  # type: ignore[union-attr]


def test_a_stage_of_a_stage_goes_on_with_its_arguments() -> None:
    graph = planned("FROM debian AS a\nARG X=1\nUSER me\nWORKDIR /w\nFROM a\nRUN x", build_args={"X": "2"})
    step = graph.result.steps[0]
    assert isinstance(step, RunStep)
    assert step.created_by == "RUN |1 X=2 /bin/sh -c x # buildkit"
    assert (step.user, step.working_dir, step.arguments) == ("me", "/w", ("X",))


def test_a_workdir_is_relative_to_the_one_before() -> None:
    steps = planned("FROM node\nWORKDIR a\nWORKDIR ../b/./c\nWORKDIR /").result.steps
    assert [step.created_by for step in steps] == [
        "WORKDIR /home/node/a",
        "WORKDIR /home/node/b/c",
        "WORKDIR /",
    ]
    assert [isinstance(step, WorkdirStep) for step in steps] == [True, True, False]


def test_an_entrypoint_takes_the_bases_command_away_but_not_ones_own() -> None:
    assert planned('FROM debian\nENTRYPOINT ["x"]').result.defaults.cmd is None
    assert planned('FROM debian\nCMD ["y"]\nENTRYPOINT ["x"]').result.defaults.cmd == ("y",)
    assert planned("FROM debian\nCMD []").result.defaults.cmd == ()


def test_history_as_buildkit_writes_it() -> None:
    text = (
        "FROM debian\n"
        'HEALTHCHECK --interval=1m30s --start-interval=1500ms CMD ["a", "b"]\n'
        'SHELL ["/bin/bash", "-c"]\n'
        'CMD a "b"\n'
        "EXPOSE 443 80/UDP\n"
        "VOLUME /b /a\n"
        'LABEL a="b c" d=e\n'
        "ENV a=b c='d e'\n"
        "COPY --chown=a:b --chmod=755 x y /z/\n"
        "STOPSIGNAL 15\n"
        "MAINTAINER me\n"
    )
    assert [step.created_by for step in planned(text).result.steps] == [
        "HEALTHCHECK {Test:[CMD a b] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:1.5s Retries:0}",
        "SHELL [/bin/bash -c]",
        'CMD ["/bin/bash" "-c" "a \\"b\\""]',
        "EXPOSE [443/tcp 80/udp]",
        "VOLUME [/b /a]",
        "LABEL a=b c d=e",
        "ENV a=b c=d e",
        "COPY --chown=a:b --chmod=755 x y /z/ # buildkit",
        "STOPSIGNAL 15",
        "MAINTAINER me",
    ]


MISTAKES = [
    ("FROM ${X}", "the image '${X}' is empty when its variables are put in"),
    ("FROM De$bian", "repository"),
    ("FROM --platform=windows/amd64 debian", "only Linux is built here"),
    ("FROM --platform=linux/pdp11 debian", "is no platform"),
    ("FROM debian\nCOPY --from=$X a b", "variables are not expanded in --from"),
    ("FROM debian\nCOPY https://x.test/a b", "COPY takes no address; ADD does (did you mean ADD?)"),
    ("FROM debian\nADD https:// b", "the host's name is missing"),
    ("FROM debian\nADD --checksum=md5:1 https://x.test/a b", "sha256: and 64 hex digits were expected"),
    ("FROM debian\nADD --checksum=x a b", "--checksum is for addresses"),
    ("FROM debian\nADD --checksum=x a b c", "--checksum needs exactly one source"),
    ("FROM debian\nADD https://x.test/a.git?depth=1 b", "the address has 'depth'"),
    ("FROM debian\nADD https://x.test/a.git?ref=a&tag=b c", "the address names several refs"),
    ("FROM debian\nCOPY --chmod=99 a b", "--chmod is '99'"),
    ("FROM debian\nCOPY --chmod=17777 a b", "--chmod is '17777'"),
    ("FROM debian\nCOPY --exclude=[a . /", "--exclude: the pattern '[a' has a '['"),
    ("FROM debian\nRUN", "RUN needs a command"),
    ("FROM debian\nRUN --mount=type=tmpfs,target=/ x", "nothing can be mounted at '/'"),
    ("FROM debian\nRUN --mount=type=cache,target=/x,id=$A,uid=$B x", "the mount's uid is a number, not ''"),
    ("FROM debian\nEXPOSE 99999", "'99999' is no port"),
    ("FROM debian\nEXPOSE 90-80", "the ports '90-80' go backwards"),
    ("FROM debian\nEXPOSE 80/icmp", "'icmp' is no protocol"),
    ("FROM debian\nSTOPSIGNAL SIGNOPE", "'SIGNOPE' is no signal"),
    ('FROM debian\nENV A="${B:?must be given}"', "B: must be given"),
    ("FROM debian\nVOLUME $X", "a volume's path is empty"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[each[1] for each in MISTAKES])
def test_a_mistake_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        planned(text)
    assert message in caught.value.message
    assert caught.value.facts["line"] == text.count("\n") + 1


def test_a_trigger_that_cannot_be_is_said_at_its_from() -> None:
    def bad(*_: str) -> ResolvedImage:
        return ResolvedImage("sha256:x", image_config({"OnBuild": ["FROM x"]}))

    with pytest.raises(InvalidDockerfile, match="Dockerfile:2: the image's ONBUILD trigger 'FROM x'"):
        plan(parse("\nFROM debian"), PlanRequest(), bad)


def test_more_layers_than_a_node_can_mount_are_refused_where_they_are_too_many() -> None:
    copies = [f"COPY f /f{number}" for number in range(499)]
    assert len(planned("\n".join(["FROM debian", *copies, "ENV A=1"])).stages[0].steps) == 500
    text = "\n".join(["FROM debian AS a", *copies, "FROM a AS b", "ENV A=1", "RUN true"])
    with pytest.raises(InvalidDockerfile, match=r"Dockerfile:503: .*more than 500 layers") as caught:
        planned(text)
    assert (caught.value.facts["line"], caught.value.facts["text"]) == (503, "RUN true")
    assert planned(f"{text}\nFROM debian AS c", target="c")


def test_doubling_a_variable_ends_in_an_error() -> None:
    lines = ["FROM debian", "ENV A=xxxxxxxxxxxxxxxx", *["ENV A=$A$A"] * 40]
    with pytest.raises(DockerfileTooLarge):
        planned("\n".join(lines))
    lines = ["FROM debian", f"ENV A={'x' * 200_000}", *[f"ENV B{number}=$A" for number in range(1000)]]
    with pytest.raises(DockerfileTooLarge):
        planned("\n".join(lines))


# --------------------------------------------------------------------------- checks in a plan


def test_a_check_can_fail_a_build_and_be_left_out() -> None:
    text = "# check=error=true\nFROM debian AS Build"
    with pytest.raises(InvalidDockerfile, match="the check StageNameCasing failed"):
        planned(text)
    assert planned(text, checks=False).warnings == ()
    assert planned("# check=skip=StageNameCasing;error=true\nFROM debian AS Build").warnings == ()


def test_checks_look_at_all_stages() -> None:
    dockerfile = parse("FROM debian AS a\nWORKDIR x\nFROM debian")
    assert [each.rule for each in check(dockerfile)] == ["WorkdirRelativePath"]
    assert plan(dockerfile, PlanRequest(), resolve).warnings == ()
