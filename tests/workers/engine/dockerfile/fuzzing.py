"""Whatever the bytes are, they are planned and checked, or refused with a typed error that has its place.

``python -m tests.workers.engine.dockerfile.fuzzing DIRECTORY [libFuzzer options]`` lets atheris look for
bytes of which that is not so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType

from tests.graphs import resolve
from workers.engine.build.graph import NamedContext, PlanRequest
from workers.engine.build.planning import check, plan
from workers.engine.dockerfile.dump import dump
from workers.engine.dockerfile.errors import explain
from workers.engine.dockerfile.ignore import Ignore, InvalidPattern
from workers.engine.dockerfile.parser import parse_tree
from workers.engine.dockerfile.reading import decode, parse
from workers.errors import InvalidDockerfile, NoSuchImage

REQUEST = PlanRequest(
    build_args={"A": "given", "HTTP_PROXY": "http://proxy"},
    contexts={"assets": NamedContext("files"), "debian": NamedContext("image", "busybox")},
    no_cache_filter=("0",),
)
IGNORE = Ignore.parse("*.log\n")


def digest(data: bytes) -> None:
    """Raise anything else than a typed error only if there is a bug."""
    try:
        dockerfile = parse(data)
        dump(parse_tree(decode(data, "Dockerfile"), "Dockerfile"))
        check(dockerfile, ignore=IGNORE)
        graph = plan(dockerfile, REQUEST, resolve, ignore=IGNORE)
    except InvalidDockerfile as error:
        explain(error)
        return
    except NoSuchImage as error:
        str(error.facts["line"])
        return
    seen: set[int] = set()
    for stage in graph.stages:
        assert set(stage.needs) <= seen
        seen.add(stage.index)
        assert all(step.key for step in stage.steps)
        assert "PATH" in {each.partition("=")[0] for each in stage.defaults.env} or not stage.steps
    assert graph.result.index == graph.target


def digest_ignore(data: bytes) -> None:
    text, _, path = data.decode(errors="replace").rpartition("\n")
    try:
        ignore = Ignore.parse(text)
    except InvalidPattern:
        return
    names = [name for name in path.split("/") if name] or ["a"]
    ignore.excludes("/".join(names))
    ignore.may_include_below("/".join(names))


def functions() -> Iterator[FunctionType]:
    """Of our modules; with all of Python's watched, a run is ten times slower."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("workers.engine.build", "workers.engine.dockerfile")):
            classes = [each for each in vars(module).values() if isinstance(each, type)]
            for each in [each for owner in (module, *classes) for each in vars(owner).values()]:
                if isinstance(each, FunctionType) and each.__module__ == name:
                    yield each


def main() -> None:
    import atheris

    for each in functions():
        atheris.instrument_func(each)

    def one(data: bytes) -> None:
        if data[:1] == b"\x01":
            digest_ignore(data[1:])
        else:
            digest(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
