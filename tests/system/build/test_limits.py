"""What all steps of a build together may take: memory, processes, CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.build.rigs import BuildRig
from workers.errors import BuildExceeded, StepFailed
from workers.messages import BuildImage, Limits


class Seen(Exception):
    pass


def while_it_runs(builds: BuildRig, command: BuildImage, look: Callable[[str], None]) -> None:
    """``look`` is given the build's cgroup while its step runs, which then ends."""
    groups = builds.rig.engine.cgroups

    def cancelled() -> None:
        if "F up" not in "".join(
            path.read_text() for path in (builds.directory / command.build).glob("*.log")
        ):
            return
        tree = groups.hierarchy.controllers.get("cpu") or groups.hierarchy.unified
        assert tree is not None
        (found,) = (tree / groups.instance).glob(f"*/build-{command.build[:32]}-*")
        look("/" + str(found.relative_to(tree)))
        raise Seen

    with pytest.raises(Seen):
        replace(builds, cancelled=cancelled).run(command)


def test_too_much_memory_is_said_so(builds: BuildRig) -> None:
    with pytest.raises(BuildExceeded, match=r"build exceeded 64 MiB at step 2/2"):
        builds.build(
            "FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1; exit 1\n",
            limits=Limits(memory_bytes=64 << 20),
        )


def test_too_many_processes_are_said_so(builds: BuildRig) -> None:
    text = "FROM base\nRUN i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done; wait\n"
    with pytest.raises(BuildExceeded, match="build exceeded 20 processes at step 2/2") as caught:
        builds.build(text, limits=Limits(memory_bytes=256 << 20, pids=20))
    assert (caught.value.facts["limit"], caught.value.facts["pids"]) == ("pids", 20)


def test_a_step_that_fails_within_its_limits_fails_for_itself(builds: BuildRig) -> None:
    with pytest.raises(StepFailed, match="exit code: 2"):
        builds.build(
            "FROM base\nRUN sleep 0 & wait; exit 2\n", limits=Limits(memory_bytes=256 << 20, pids=20)
        )


def test_limits_and_weight_are_those_of_the_builds_cgroup(builds: BuildRig) -> None:
    limits = Limits(memory_bytes=256 << 20, cpu_millis=500, pids=77)
    groups = builds.rig.engine.cgroups

    def text(controller: str, cgroup: str, name: str) -> str:
        tree = groups.hierarchy.controllers.get(controller) or groups.hierarchy.unified
        assert tree is not None
        return Path(f"{tree}{cgroup}", name).read_text().strip()

    def look(cgroup: str) -> None:
        assert text("pids", cgroup, "pids.max") == "77"
        if groups.hierarchy.version == 1:
            assert text("cpu", cgroup, "cpu.cfs_quota_us") == "50000"
            assert text("cpu", cgroup, "cpu.shares") == "204"
            assert text("memory", cgroup, "memory.limit_in_bytes") == str(256 << 20)
        else:
            assert text("cpu", cgroup, "cpu.max") == "50000 100000"
            assert text("cpu", cgroup, "cpu.weight") == "20"
            assert text("memory", cgroup, "memory.max") == str(256 << 20)

    while_it_runs(builds, builds.command("FROM base\nRUN echo up; sleep 100\n", limits=limits), look)


def test_a_build_takes_no_more_cpu_than_it_may(builds: BuildRig) -> None:
    busy = "FROM base\nRUN (while :; do :; done) & echo up; while :; do :; done\n"
    command = builds.command(busy, limits=Limits(memory_bytes=256 << 20, cpu_millis=200, pids=50))

    def look(cgroup: str) -> None:
        usage = builds.rig.engine.cgroups.usage
        since, before = time.monotonic(), usage(cgroup).cpu_ns
        time.sleep(1)
        spent = (usage(cgroup).cpu_ns - before) / 1e9
        assert 0 < spent < 0.3 * (time.monotonic() - since) + 0.1

    while_it_runs(builds, command, look)
