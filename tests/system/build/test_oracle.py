"""The same config and the same files, modes and owners as Docker's classic builder, for small Dockerfiles."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.build.classic import Classic, config_of, contents, running
from tests.system.build.oracle_cases import CASES
from tests.system.build.rigs import BuildRig, context
from workers.errors import SlipwayError

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classic]:
    with running(tmp_path_factory.mktemp("classic")) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_a_build_comes_out_as_the_classic_builders(name: str, builds: BuildRig, classic: Classic) -> None:
    case = CASES[name]
    files = {"Dockerfile": case.dockerfile, **case.files}
    options = [f"--build-arg={name}={value}" for name, value in case.args.items()]
    if case.fails:
        with pytest.raises(RuntimeError):
            classic.build(context(files), *options)
        with pytest.raises(SlipwayError, match=case.fails):
            builds.build(case.dockerfile, case.files, args=dict(case.args))
        return
    theirs = classic.build(context(files), *options)
    ours = builds.build(case.dockerfile, case.files, args=dict(case.args))
    expected = contents(classic.files(theirs))
    builds.build(case.dockerfile, case.files, args=dict(case.args), output="tar")
    actual = contents(builds.output)

    config = json.loads(builds.image(ours).config_text)["config"]
    assert config_of(config) == config_of(classic.config(theirs)) | dict(case.config)
    differing = {
        name: {"ours": actual.get(name), "theirs": expected.get(name)}
        for name in sorted(expected.keys() | actual.keys())
        if actual.get(name) != expected.get(name)
    }
    assert differing == {}
