"""A cache that goes through a registry: written by one project, taken in by another."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.system.build.rigs import BuildRig
from workers.engine.build.cacheimages import MEMBER
from workers.engine.images import Image
from workers.errors import BuildUnsupported, NoSuchImage, RegistryUnreachable

TEXT = "FROM base AS tool\nRUN echo t > /t\nFROM base\nRUN echo one > /one\nCOPY --from=tool /t /t\n"


def done(builds: BuildRig) -> list[str]:
    return [step.state for step in builds.steps if "RUN" in step.name or "COPY" in step.name]


def served(builds: BuildRig) -> None:
    def pull(reference: str, platform: str) -> Image:
        for name, image in builds.pushed.items():
            if name == reference:
                return image
        raise NoSuchImage(f"No such image: {reference}")

    builds.pull = pull


def test_the_whole_cache_goes_out_and_comes_in(builds: BuildRig) -> None:
    served(builds)
    first = builds.build(
        TEXT, cache_to=("type=registry,ref=reg.example/app:cache,mode=max",), project=builds.rig.project(1)
    )
    assert list(builds.pushed) == ["reg.example/app:cache"]

    again = builds.build(TEXT, cache_from=("reg.example/app:cache",), project=builds.rig.project(2))

    assert done(builds) == ["cached"] * 3
    assert builds.step("importing cache").reason == "3 steps"
    assert builds.image(first).layers == builds.image(again).layers
    assert builds.text(again, "/t") == "t\n"


def test_transfers_show_how_far_they_are(builds: BuildRig) -> None:
    base = builds.image(builds.build("FROM base\n"))

    def pull(reference: str, platform: str) -> Image:
        builds.note("40 of 120 MB")
        return base

    builds.pull = pull
    cache = "reg.example/app:cache"
    text = "FROM debian:12\nRUN true\n"
    builds.build(text, cache_from=(cache,), cache_to=(f"type=registry,ref={cache}",))
    lines = [builds.step(name) for name in ("pulling", "importing", "exporting cache")]
    assert [line.state for line in lines] == ["done"] * 3
    assert [line.progress for line in lines] == ["40 of 120 MB", "40 of 120 MB", "all of it"]
    assert builds.step("pulling").name == "pulling debian:12"

    def nobody(reference: str, platform: str) -> Image:
        raise NoSuchImage(f"No such image: {reference}")

    builds.pull = nobody
    with pytest.raises(NoSuchImage):
        builds.build(text)
    assert builds.step("pulling").reason.startswith("No such image")


def test_the_least_cache_holds_what_the_result_is_made_of(builds: BuildRig) -> None:
    served(builds)
    builds.build(TEXT, cache_to=("type=registry,ref=reg.example/app:cache",))
    (image,) = builds.pushed.values()
    names = [each["name"] for each in json.loads(image.config_text)[MEMBER]]
    assert len(names) == 2
    assert all("tool" not in name.partition("]")[0] for name in names)


def test_an_image_carries_its_own_cache(builds: BuildRig) -> None:
    served(builds)
    built = builds.build(TEXT, cache_to=("inline",), project=builds.rig.project(1))
    builds.pushed["docker.io/library/app:latest"] = builds.image(built)

    builds.build(TEXT, cache_from=("app",), project=builds.rig.project(2))

    assert done(builds) == ["done", "cached", "cached"]


def test_a_cache_that_cannot_be_had_or_kept_is_a_warning(builds: BuildRig) -> None:
    def pull(reference: str, platform: str) -> Image:
        raise RegistryUnreachable(f"{reference} does not answer")

    builds.pull = pull
    built = builds.build("FROM base\nRUN true\n", cache_from=("app",))
    assert any("does not answer" in warning for warning in built.warnings)


@pytest.mark.parametrize(("member", "why"), [("moby.buildkit.cache.v0", "BuildKit"), ("other", "no cache")])
def test_an_image_without_a_cache_of_ours_says_so(builds: BuildRig, member: str, why: str) -> None:
    served(builds)
    image = builds.image(builds.build("FROM base\nRUN echo one > /one\n", project=builds.rig.project(1)))
    config = {**json.loads(image.config_text), member: "eyJsYXllcnMiOltdfQ=="}
    builds.pushed["docker.io/library/app:latest"] = replace(image, config_text=json.dumps(config))

    built = builds.build(TEXT, cache_from=("app",), project=builds.rig.project(2))

    [warning] = built.warnings
    assert warning.startswith("No cache from app: ")
    assert why in warning
    assert done(builds) == ["done"] * 3
    assert why in builds.step("importing cache").reason


def test_steps_of_a_foreign_cache_that_make_no_sense_are_left_out_with_a_warning(builds: BuildRig) -> None:
    served(builds)
    built = builds.build(TEXT, cache_to=("inline",), project=builds.rig.project(1))
    image = builds.image(built)
    config = json.loads(image.config_text)
    good = config[MEMBER][0]
    odd = [
        {"created": "yesterday"},
        {"created": [1]},
        {"created": 1e300},
        {"created": -1},
        {"key": 7},
        {"key": "../../x"},
        {"name": "\ud800"},
        {"parent": None},
        {"layer": 99},
        {"layer": True},
    ]
    config[MEMBER] += [{**good, "key": f"{number:064x}", **each} for number, each in enumerate(odd)] + [None]
    builds.pushed["docker.io/library/app:latest"] = replace(image, config_text=json.dumps(config))

    again = builds.build(TEXT, cache_from=("app",), project=builds.rig.project(2))

    assert again.warnings == ("11 steps of the cache of app make no sense and were left out",)
    assert done(builds) == ["done", "cached", "cached"]


@pytest.mark.parametrize("option", ["type=local,dest=/tmp", "type=gha", "type=registry"])
def test_other_places_are_refused_by_name(builds: BuildRig, option: str) -> None:
    with pytest.raises(BuildUnsupported):
        builds.build("FROM base\n", cache_to=(option,))
