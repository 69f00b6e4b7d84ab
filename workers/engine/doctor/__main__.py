"""``python -m workers.engine.doctor``: what this node has and lacks; exit code 1 if anything is missing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from workers.checks import table, worst
from workers.engine.doctor import cgroup, examine, network
from workers.engine.places import Places


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.engine.doctor", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/var/lib/slipway"), help="the data directory")
    parser.add_argument("--run", type=Path, default=Path("/run/slipway"), help="the run directory")
    parser.add_argument("--instance", default="slipway")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--fix", action="store_true", help="first mend what can be mended without asking")
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("The doctor uses what it examines and needs root: run it with sudo.", file=sys.stderr)
        return 1
    if chosen.fix:
        for line in mend(chosen.instance):
            print(line, file=sys.stderr)
    checks = examine(Places(chosen.data, chosen.run), chosen.instance)
    print(json.dumps([asdict(check) for check in checks], indent=2) if chosen.json else table(checks))
    return 1 if worst(checks) == "missing" else 0


def mend(instance: str) -> list[str]:
    """Change what the node needs changed and nobody loses by; what was done, in words."""
    hugetlb = cgroup.mount_hugetlb()
    return [*([hugetlb] if hugetlb else []), *network.let_through(instance)]


if __name__ == "__main__":
    sys.exit(main())
