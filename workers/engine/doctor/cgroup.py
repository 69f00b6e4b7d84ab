"""Control groups: which version, which controllers, and the one layout crun refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

from workers.checks import Check
from workers.engine.cgroups import ROOT, Hierarchy, parse_mounts

_NEEDED_V1 = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer")
_NEEDED_V2 = ("memory", "cpu", "pids")
_HUGETLB = "mount the version 1 hugetlb hierarchy: run the doctor with --fix"


def examine() -> list[Check]:
    hierarchy = parse_mounts(Path("/proc/self/mountinfo").read_text())
    return [_version(hierarchy), _controllers(hierarchy, _unified_controllers(hierarchy))]


def trapped(hierarchy: Hierarchy, unified: frozenset[str]) -> bool:
    """Whether crun 1.8 refuses this layout: a hybrid one with hugetlb on the version 2 side. Pure."""
    return hierarchy.version == 1 and "hugetlb" in unified


def mount_hugetlb() -> str | None:
    """Take hugetlb to the version 1 side, where crun wants it; what was done, or None if not needed."""
    hierarchy = parse_mounts(Path("/proc/self/mountinfo").read_text())
    if not trapped(hierarchy, _unified_controllers(hierarchy)):
        return None
    target = ROOT / "hugetlb"
    target.mkdir(exist_ok=True)
    command = ["mount", "-t", "cgroup", "-o", "hugetlb", "none", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"cgroups: {' '.join(command)} failed: {done.stderr.strip()}"
    return f"cgroups: mounted the version 1 hugetlb hierarchy on {target}"


def _version(hierarchy: Hierarchy) -> Check:
    if hierarchy.version == 2:
        if hierarchy.unified is None:
            return Check("cgroup version", "missing", "nothing is mounted", f"mount -t cgroup2 none {ROOT}")
        return Check("cgroup version", "ok", f"version 2 on {hierarchy.unified}")
    if hierarchy.unified is None:
        return Check("cgroup version", "ok", "version 1")
    if trapped(hierarchy, _unified_controllers(hierarchy)):
        return Check(
            "cgroup version", "degraded", "hybrid with hugetlb on version 2: crun refuses it", _HUGETLB
        )
    return Check("cgroup version", "ok", f"hybrid: version 1, and version 2 on {hierarchy.unified}")


def _controllers(hierarchy: Hierarchy, unified: frozenset[str]) -> Check:
    one = hierarchy.version == 1
    present = frozenset(hierarchy.controllers) if one else unified
    lacking = [name for name in (_NEEDED_V1 if one else _NEEDED_V2) if name not in present]
    if not lacking:
        shown = sorted(name for name in present if not name.startswith("name="))
        return Check("cgroup controllers", "ok", " ".join(shown))
    fix = "boot with cgroup_enable=" + ",".join(lacking)
    if not one:
        fix += "; in a container or a service, delegate them (Delegate=yes)"
    return Check("cgroup controllers", "missing", f"no {', '.join(lacking)}", fix)


def _unified_controllers(hierarchy: Hierarchy) -> frozenset[str]:
    if hierarchy.unified is None:
        return frozenset()
    listing = hierarchy.unified / "cgroup.controllers"
    return frozenset(listing.read_text().split()) if listing.exists() else frozenset()
