"""What is found again, what is not and why, and what is swept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.system.build.rigs import BuildRig, file
from workers.engine import images
from workers.engine.build import mounts
from workers.engine.build.builder import Builder
from workers.errors import NodeError

TEXT = "FROM base\nRUN echo one > /one\nCOPY f /f\nRUN cat /f > /two\n"


def states(builds: BuildRig) -> list[str]:
    return [step.state for step in builds.steps if "FROM" not in step.name and "[internal]" not in step.name]


def test_a_build_is_found_again_also_after_a_restart(builds: BuildRig) -> None:
    first = builds.build(TEXT, {"f": "x"})
    builds.builder.cache.close()
    builds.builder = Builder.open(builds.rig.engine)

    again = builds.build(TEXT, {"f": "x"})

    assert states(builds) == ["cached", "cached", "cached", "done"]
    assert builds.image(first).image_id == builds.image(again).image_id


def test_times_of_files_do_not_count_but_modes_do(builds: BuildRig) -> None:
    builds.build(TEXT, {"f": file("x", 0o644)})
    builds.build(TEXT, {"f": file("x", 0o600)})

    assert states(builds) == ["cached", "done", "done", "done"]
    assert builds.step("COPY").reason == "the files it reads have changed"
    assert builds.step("cat /f").reason == "a step before it has changed"


def test_each_miss_says_why(builds: BuildRig) -> None:
    builds.build(TEXT, {"f": "x"})
    assert builds.step("RUN echo one").reason == "it was never done here, or its result was swept"

    builds.build(TEXT.replace("echo one", "echo 1"), {"f": "x"})
    assert builds.step("RUN echo 1").reason == "the instruction, or a variable it uses, has changed"
    assert builds.step("COPY").reason == "a step before it has changed"

    builds.build(TEXT, {"f": "x"}, no_cache=True)
    assert states(builds) == ["done", "done", "done", "done"]
    assert builds.step("COPY").reason == "the cache was not to be used"


def test_only_arguments_that_are_declared_count(builds: BuildRig) -> None:
    text = "FROM base\nRUN echo a > /a\nARG V\nRUN echo $V > /v\n"
    builds.build(text, args={"V": "1"})
    builds.build(text, args={"V": "2"})
    assert states(builds) == ["cached", "done", "done"]


def test_secrets_do_not_count(builds: BuildRig) -> None:
    text = "FROM base\nRUN --mount=type=secret,id=s touch /done\n"
    builds.build(text, secrets={"s": "value one"})
    builds.build(text, secrets={"s": "value two"})
    assert states(builds) == ["cached", "done"]


def test_a_stage_rebuilt_to_the_same_files_invalidates_nothing(builds: BuildRig) -> None:
    text = (
        "FROM base AS a\nRUN echo {0} >/dev/null; echo same > /f\n"
        "FROM base\nCOPY --from=a /f /f\nRUN cat /f\n"
    )
    builds.build(text.format("1"))
    builds.build(text.format("2"))
    assert builds.state("RUN echo 2") == "done"
    assert builds.state("COPY --from=a") == "cached"
    assert builds.state("RUN cat") == "cached"


def test_a_linked_copy_stays_valid_when_its_parent_changes(builds: BuildRig) -> None:
    text = "FROM base\nRUN echo {0} > /x\nCOPY --link f /deep/f\n"
    builds.build(text.format("1"), {"f": "x"})
    built = builds.build(text.format("2"), {"f": "x"})
    assert builds.state("COPY --link") == "cached"
    assert builds.text(built, "/deep/f") == "x"
    assert builds.text(built, "/x") == "2\n"


def test_one_project_never_sees_the_cache_of_another(builds: BuildRig) -> None:
    builds.build(TEXT, {"f": "x"}, project=builds.rig.project(1))
    builds.build(TEXT, {"f": "x"}, project=builds.rig.project(2))
    assert "cached" not in states(builds)


def test_layers_are_shared_with_the_image_and_spared_by_its_sweep(builds: BuildRig) -> None:
    built = builds.build(TEXT, {"f": "x"})
    image = builds.image(built)
    images.withdraw(builds.rig.engine.images, "5" * 32, image.image_id)

    images.sweep(builds.rig.engine.images)

    builds.build(TEXT, {"f": "x"})
    assert states(builds) == ["cached", "cached", "cached", "done"]


def test_what_was_not_used_for_longest_goes_first(builds: BuildRig) -> None:
    cache = builds.builder.cache
    builds.build("FROM base\nRUN echo a > /a\n")
    builds.build("FROM base\nRUN busybox head -c 100000 /dev/zero > /b\n")

    cache.sweep(max_bytes=150_000, max_age=3600)
    builds.build("FROM base\nRUN busybox head -c 100000 /dev/zero > /b\n")
    assert states(builds) == ["cached", "done"]

    cache.sweep(max_bytes=50_000, max_age=3600)
    builds.build("FROM base\nRUN busybox head -c 100000 /dev/zero > /b\n")
    assert states(builds) == ["done", "done"]


def test_what_a_running_build_uses_is_not_swept(builds: BuildRig) -> None:
    cache = builds.builder.cache
    swept: list[int] = []

    def cancelled() -> None:
        if "two" in builds.said() and not swept:
            swept.append(cache.sweep(max_bytes=0, max_age=0))

    builds.cancelled = cancelled
    built = builds.build("FROM base\nRUN echo one > /one\nRUN echo two; sleep 0.5; cat /one > /two\n")

    assert swept == [0]
    assert builds.text(built, "/two") == "one\n"


def test_a_result_whose_files_are_gone_is_made_again(builds: BuildRig) -> None:
    with pytest.raises(Exception, match="exit code"):
        builds.build("FROM base\nRUN echo a > /a\nRUN exit 1\n")
    (snapshot,) = builds.rig.places.build_snapshots.glob("*/*")
    shutil.rmtree(snapshot)

    builds.build("FROM base\nRUN echo a > /a\n")

    assert states(builds) == ["done", "done"]


def test_a_base_whose_layers_are_gone_is_said_so(builds: BuildRig) -> None:
    built = builds.build("FROM base\nRUN echo only here > /here\n")
    builds.images["mine:latest"] = builds.image(built).image_id
    layer = builds.rig.places.layer(builds.image(built).layers[-1].diff_id)
    layer.rename(layer.with_name("aside"))
    try:
        with pytest.raises(NodeError, match="is not on this node"):
            builds.build("FROM mine\nRUN true\n")
    finally:
        layer.with_name("aside").rename(layer)


def test_a_damaged_index_is_an_empty_cache(builds: BuildRig) -> None:
    builds.build(TEXT, {"f": "x"})
    builds.builder.cache.close()
    builds.rig.places.build_cache.write_bytes(b"no database" * 1000)
    for name in ("-wal", "-shm"):
        Path(f"{builds.rig.places.build_cache}{name}").unlink(missing_ok=True)
    builds.builder = Builder.open(builds.rig.engine)

    builds.build(TEXT, {"f": "x"})

    assert "cached" not in states(builds)


def test_cache_mounts_are_swept_unless_they_are_in_use(builds: BuildRig) -> None:
    builds.build("FROM base\nRUN --mount=type=cache,target=/c echo x > /c/x\n")
    assert mounts.sweep(builds.rig.places, max_bytes=1 << 30, max_age=3600) == 0
    swept: list[int] = []

    def cancelled() -> None:
        if "in use" in builds.said() and not swept:
            swept.append(mounts.sweep(builds.rig.places, max_bytes=0, max_age=0))

    builds.cancelled = cancelled
    builds.build("FROM base\nRUN --mount=type=cache,target=/c echo in use; sleep 0.5; ls /c/x\n")

    assert swept == [0]
    assert mounts.sweep(builds.rig.places, max_bytes=0, max_age=0) == 1
