"""Both cgroup versions, from the text a kernel writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.engine.cgroups import (
    Cgroups,
    Hierarchy,
    Usage,
    io_weights,
    parse_flat,
    parse_limit,
    parse_mounts,
)
from workers.messages import Limits

HYBRID = """\
25 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 25 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:30 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
35 31 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 31 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
37 31 0:29 /other /somewhere/else rw,relatime - cgroup cgroup rw,memory
"""
PURE = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_the_hybrid_layout_is_version_1_with_a_unified_tree() -> None:
    found = parse_mounts(HYBRID)
    assert found.version == 1
    assert found.unified == Path("/sys/fs/cgroup/unified")
    assert found.controllers["cpuacct"] == found.controllers["cpu"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert found.controllers["name=systemd"] == Path("/sys/fs/cgroup/systemd")
    assert found.controllers["memory"] == Path("/sys/fs/cgroup/memory")
    assert len(found.trees()) == 5


def test_one_unified_tree_is_version_2() -> None:
    found = parse_mounts(PURE)
    assert (found.version, found.trees()) == (2, (Path("/sys/fs/cgroup"),))


def test_a_limit_may_be_none_in_either_versions_words() -> None:
    assert parse_limit("max\n") is None
    assert parse_limit("9223372036854771712\n") is None
    assert parse_limit("67108864\n") == 64 << 20


def test_flat_files_give_their_numbers_and_skip_the_rest() -> None:
    assert parse_flat("oom_kill_disable 0\nunder_oom 0\noom_kill 3\nodd\n") == {
        "oom_kill_disable": 0,
        "under_oom": 0,
        "oom_kill": 3,
    }


def write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


@pytest.fixture
def version1(tmp_path: Path) -> Cgroups:
    names = ("memory", "cpuacct", "pids")
    here = "slipway/p/c"
    memory = {
        "memory.usage_in_bytes": "5000\n",
        "memory.stat": "cache 2000\ntotal_inactive_file 1500\n",
        "memory.limit_in_bytes": "67108864\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "cgroup.procs": "11\n",
    }
    write(tmp_path / "memory" / here, memory)
    write(tmp_path / "cpuacct" / here, {"cpuacct.usage": "123456789\n", "cgroup.procs": "11\n"})
    write(
        tmp_path / "pids" / here,
        {"pids.current": "4\n", "pids.events": "max 5\n", "cgroup.procs": "11\n12\n"},
    )
    write(tmp_path / "pids" / here / "nested", {"cgroup.procs": "13\n"})
    return Cgroups("slipway", Hierarchy(None, {name: tmp_path / name for name in names}))


@pytest.fixture
def version2(tmp_path: Path) -> Cgroups:
    files = {
        "memory.current": "5000\n",
        "memory.stat": "anon 1000\ninactive_file 1500\n",
        "memory.max": "max\n",
        "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n",
        "cpu.stat": "usage_usec 123456\nuser_usec 1\n",
        "pids.current": "4\n",
        "pids.events": "max 5\n",
        "cgroup.procs": "11\n12\n",
    }
    write(tmp_path / "slipway/p/c", files)
    return Cgroups("slipway", Hierarchy(tmp_path, {}))


def test_version_1_is_read_from_its_controllers(version1: Cgroups) -> None:
    path = version1.path("p", "c")
    assert version1.usage(path) == Usage(123456789, 3500, 64 << 20, 4)
    assert version1.oom_kills(path) == 2
    assert version1.forks_refused(path) == 5
    assert version1.pids(path) == {11, 12, 13}


def test_version_2_is_read_from_its_one_tree(version2: Cgroups) -> None:
    path = version2.path("p", "c")
    assert version2.usage(path) == Usage(123456000, 3500, None, 4)
    assert version2.oom_kills(path) == 2
    assert version2.forks_refused(path) == 5
    assert version2.pids(path) == {11, 12}


@pytest.mark.parametrize("version", ["version1", "version2"])
def test_a_cgroup_that_is_gone_holds_nobody(version: str, request: pytest.FixtureRequest) -> None:
    cgroups: Cgroups = request.getfixturevalue(version)
    assert cgroups.oom_kills("/slipway/p/other") == 0
    assert cgroups.forks_refused("/slipway/p/other") == 0
    assert cgroups.pids("/slipway/p/other") == set()
    cgroups.kill("/slipway/p/other")
    cgroups.remove("/slipway/p/other")
    with pytest.raises(FileNotFoundError):
        cgroups.usage("/slipway/p/other")


def test_a_shim_is_moved_in_every_tree(version1: Cgroups) -> None:
    version1.adopt_shim(4711)
    for tree in version1.hierarchy.trees():
        assert (tree / "slipway" / "shims" / "cgroup.procs").read_text() == "4711"


def read(directory: Path, *names: str) -> list[str]:
    return [(directory / name).read_text() for name in names]


def test_weights_of_disks_are_a_fifth_of_what_others_have_in_either_versions_words() -> None:
    assert io_weights(2, 20) == {"io.weight": "default 20", "io.bfq.weight": "20"}
    assert io_weights(1, 20) == {"blkio.bfq.weight": "20", "blkio.weight": "100"}
    assert io_weights(1, 1) == {"blkio.bfq.weight": "1", "blkio.weight": "10"}


def test_disks_are_weighed_on_version_2_where_the_kernel_can(tmp_path: Path) -> None:
    write(tmp_path / "slipway/p/build-1", {"io.weight": "default 100\n", "pids.max": "max\n"})
    Cgroups("slipway", Hierarchy(tmp_path, {})).confine("/slipway/p/build-1", Limits(), weight=20)
    assert read(tmp_path / "slipway/p/build-1", "io.weight", "cpu.weight") == ["default 20", "20"]
    assert not (tmp_path / "slipway/p/build-1/io.bfq.weight").exists()
    # The last thing handed down is io, and by itself.
    assert read(tmp_path, "cgroup.subtree_control") == read(tmp_path / "slipway/p", "cgroup.subtree_control")
    assert read(tmp_path / "slipway", "cgroup.subtree_control") == ["+io"]


def test_disks_are_weighed_on_version_1_where_the_kernel_can(tmp_path: Path) -> None:
    names = ("memory", "cpu", "pids", "blkio")
    here = "slipway/p/build-1"
    write(tmp_path / "blkio" / here, {"blkio.bfq.weight": "100\n"})
    made = Cgroups("slipway", Hierarchy(None, {name: tmp_path / name for name in names}))
    made.confine(f"/{here}", Limits(), weight=20)
    assert read(tmp_path / "blkio" / here, "blkio.bfq.weight") == ["20"]
    assert not (tmp_path / "blkio" / here / "blkio.weight").exists()


def test_without_a_controller_of_disks_a_build_is_confined_all_the_same(tmp_path: Path) -> None:
    names = ("memory", "cpu", "pids")
    made = Cgroups("slipway", Hierarchy(None, {name: tmp_path / name for name in names}))
    made.confine("/slipway/p/build-1", Limits(pids=7), weight=20)
    assert read(tmp_path / "pids/slipway/p/build-1", "pids.max") == ["7"]
    assert not (tmp_path / "blkio").exists()
