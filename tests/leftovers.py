"""What a test run may leave behind on a node, seen from outside: compared before and after a session."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

PROGRAMS = {"conmon", "crun", "runc", "redis-server", "aardvark-dns"}
PYTHON_MARKS = (b"workers.agent", b"workers.app", b"slipway.asgi", b"manage.py", b"scripts/up.py")
UNIFIED = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


def survey() -> dict[str, set[str]]:
    """Every mount, link, firewall table, control group and process of the kinds Slipway makes."""
    return {
        "mount": _mounts(),
        "link": {path.name for path in Path("/sys/class/net").iterdir()},
        "nft table": _tables(),
        "control group": _cgroups(),
        "process": _processes(),
    }


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[str]:
    """One line per thing that is there now and was not; empty when the session was clean."""
    return [f"{kind}: {item}" for kind in before for item in sorted(after[kind] - before[kind])]


def _mounts() -> set[str]:
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"{fields[4]} ({fields[fields.index('-') + 1]})" for fields in (row.split() for row in rows)}


def _tables() -> set[str]:
    try:
        done = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=False)
    except FileNotFoundError:
        return set()
    if done.returncode != 0:
        return set()
    rows = json.loads(done.stdout)["nftables"]
    return {f"{row['table']['family']} {row['table']['name']}" for row in rows if "table" in row}


def _cgroups() -> set[str]:
    roots = [path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir()]
    found = set()
    for root in {*roots, *UNIFIED}:
        for directory, children, _ in os.walk(root):
            if len(Path(directory).relative_to(root).parts) >= 2:
                children.clear()
            found.update(str(Path(directory) / child) for child in children)
    return found


def _processes() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if name in PROGRAMS or any(mark in line for mark in PYTHON_MARKS):
            found.add(f"{process.name} {line.replace(bytes(1), b' ').decode(errors='replace')[:120]}")
    return found
