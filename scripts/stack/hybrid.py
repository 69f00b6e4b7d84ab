"""Machines with control groups of both versions: where crun wants one more hierarchy mounted.

crun 1.8 refuses hybrid control groups while the hugetlb controller sits on the unified side. Mounting the
v1 hierarchy moves it, costs nothing and lasts until the next boot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
HIERARCHY = ROOT / "hugetlb"


def wants_hugetlb() -> bool:
    controllers = ROOT / "unified" / "cgroup.controllers"
    if not controllers.exists() or not shutil.which("crun"):
        return False
    return "hugetlb" in controllers.read_text().split() and not os.path.ismount(HIERARCHY)


def mount_hugetlb(environ: Mapping[str, str]) -> str | None:
    """Mount it where crun needs it; returns the line to print, None when there is nothing to do."""
    if not wants_hugetlb():
        return None
    if environ.get("SLIPWAY_MOUNT_HUGETLB") == "0":
        return "crun needs the v1 hugetlb hierarchy, and SLIPWAY_MOUNT_HUGETLB=0 forbids it: using runc"
    HIERARCHY.mkdir(exist_ok=True)
    mount = ["mount", "-t", "cgroup", "-o", "hugetlb", "none", str(HIERARCHY)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"could not mount {HIERARCHY} for crun ({done.stderr.strip()}): using runc"
    return f"mounted the v1 hugetlb hierarchy at {HIERARCHY}, which crun needs (until the next boot)"
