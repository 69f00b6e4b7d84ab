"""What this test run has on a node, seen from outside: nothing of it may be there when the run has ended.

Instances and scratch directories bear the number of the process that made them (``tests.environment``), so a
neighbour's, on a machine where others test too, are not counted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

UNIFIED = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
NETWORK = Path("/sys/class/net")
TRACKER = "multiprocessing.resource_tracker"
PATIENCE = 10.0
"""For what a kernel or an ended process takes down a moment later."""


def marks(*directories: Path) -> re.Pattern[str]:
    """What names of this process's instances and scratch directories, and ``directories``, look like."""
    own = rf"\b(swt|slipway-test-){os.getpid()}(?!\d)"
    return re.compile("|".join([own, *(rf"{re.escape(str(each))}(?![\w-])" for each in directories)]))


def remaining(mark: re.Pattern[str], patience: float = PATIENCE) -> list[str]:
    """``survey``, once what vanishes by itself has had the time to."""
    deadline = time.monotonic() + patience
    while (found := survey(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def survey(mark: re.Pattern[str]) -> list[str]:
    """A line per mount, link, firewall table, control group and process that bears ``mark``."""
    kinds: dict[str, Iterable[tuple[str, str]]] = {
        "mount": ((row, row) for row in Path("/proc/self/mountinfo").read_text().splitlines()),
        "link": _links(),
        "nft table": ((table, table) for table in _tables()),
        "control group": ((path, path) for path in _cgroups()),
        "process": _processes(),
    }
    return [
        f"{kind}: {item}"
        for kind, items in kinds.items()
        for item, text in sorted(items)
        if mark.search(text)
    ]


def _links() -> Iterator[tuple[str, str]]:
    """A bridge says whose it is by its alias; a container's link by the bridge it is plugged into."""
    for link in NETWORK.iterdir():
        texts = []
        for place in (link, link / "master"):
            try:
                texts.append((place / "ifalias").read_text().strip())
            except OSError:
                continue  # it has gone, or there is no bridge
        yield link.name, " ".join(texts)


def _tables() -> list[str]:
    try:
        done = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        return []
    rows = json.loads(done.stdout)["nftables"]
    return [f"{row['table']['family']} {row['table']['name']}" for row in rows if "table" in row]


def _cgroups() -> set[str]:
    roots = [path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir()]
    found = set()
    for root in {*roots, *UNIFIED}:
        for directory, children, _ in os.walk(root):
            if len(Path(directory).relative_to(root).parts) >= 2:
                children.clear()
            found.update(str(Path(directory) / child) for child in children)
    return found


def _processes() -> Iterator[tuple[str, str]]:
    """By their command line, or the instance in their environment; but not this process."""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            line, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue  # it has ended, or it is not ours to look into
        words = line.replace(bytes(1), b" ").decode(errors="replace").strip()
        variables = [each for each in environment.split(bytes(1)) if each.startswith(b"SLIPWAY_")]
        if TRACKER in words:  # Python's own, of a session that used multiprocessing: it ends with it
            continue
        if words:  # else a kernel thread, or ended and not yet waited for
            yield f"{process.name} {words[:120]}", f"{words} {b' '.join(variables).decode(errors='replace')}"
