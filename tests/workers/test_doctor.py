"""What the doctor concludes from what it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.checks import Check, table, worst
from workers.engine.cgroups import Hierarchy
from workers.engine.doctor.cgroup import trapped
from workers.engine.doctor.storage import filesystem_of
from workers.errors import NodeError

V1 = {"memory": Path("/sys/fs/cgroup/memory"), "cpu": Path("/sys/fs/cgroup/cpu")}
MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /var/lib/my\\040data rw - xfs /dev/vdb rw,prjquota
31 22 0:26 / /var rw - tmpfs tmpfs rw
"""


def test_only_a_hybrid_layout_with_hugetlb_on_version_2_is_the_trap() -> None:
    unified = Path("/sys/fs/cgroup/unified")
    assert trapped(Hierarchy(unified, V1), frozenset({"hugetlb"}))
    assert not trapped(Hierarchy(unified, V1), frozenset())
    assert not trapped(Hierarchy(Path("/sys/fs/cgroup"), {}), frozenset({"hugetlb", "memory"}))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc", "ext4"), ("/var/lib/my data/x", "xfs"), ("/var/lib", "tmpfs"), ("/variable", "ext4")],
)
def test_the_filesystem_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTINFO).kind == kind


def test_the_quota_option_is_found() -> None:
    assert "prjquota" in filesystem_of(Path("/var/lib/my data"), MOUNTINFO).options


def test_no_filesystem_is_an_error_with_the_path() -> None:
    with pytest.raises(NodeError, match="/srv"):
        filesystem_of(Path("/srv"), "")


def test_the_verdict_is_that_of_the_worst_line() -> None:
    ok, degraded, missing = Check("a", "ok", ""), Check("b", "degraded", ""), Check("c", "missing", "")
    assert worst([ok]) == "ok"
    assert worst([ok, degraded]) == "degraded"
    assert worst([degraded, missing, ok]) == "missing"


def test_the_table_is_aligned_and_shows_the_fix() -> None:
    assert table([Check("kernel", "ok", "Linux 6.1"), Check("crun", "missing", "absent", "install it")]) == (
        "✓ ok        kernel  Linux 6.1\n✗ missing   crun    absent\n                    fix: install it"
    )
